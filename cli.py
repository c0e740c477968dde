"""Rankscope's front door: each command parses, calls one function and prints. Kept thin, and quick to answer --help."""

import functools
import importlib.util
import json
import os
import sys
from pathlib import Path

import click

BACKENDS = ("tensorflow", "jax", "torch")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli():
    """Watch what weight decay does to the rank of attention while a model trains.

    \b
    python cli.py fit vit --wd-attn 0
    KERAS_BACKEND=jax python cli.py fit vit --wd-attn 1
    python cli.py show saved_models
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal without ᵀ and λ shows question marks, not a traceback
        stream.reconfigure(errors="replace")


def one_line_errors(command):
    """Turn the mistakes we know into one line and an exit code: 2 for the user's, 1 for the machine's."""

    @functools.wraps(command)
    def wrapped(*args, **kwargs):
        from training.settings_reader import UserError

        try:
            return command(*args, **kwargs)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("Interrupted; nothing more was saved.", err=True)
            sys.exit(130)
        except BrokenPipeError:  # nobody reads on, as in `show | head -1`
            discard_output()
        except MemoryError as error:
            click.echo(f"Error: out of memory: {error}", err=True)
            sys.exit(1)
        except OSError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)

    return wrapped


def say(line=None):
    """Print a line for whoever still listens; without one, end the progress bar's line. Training goes on either way."""
    try:
        if line is not None or sys.stdout.isatty():
            click.echo(line)
    except BrokenPipeError:
        discard_output()


def discard_output():
    """Let nobody's standard output swallow what is still printed, at exit, too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


FIT_FLAGS = {  # flag → key of the settings
    "--wd": "optimizer.weight_decay",
    "--wd-attn": "optimizer.attention_weight_decay",
    "--wd-qk": "optimizer.attention_weight_decay.qk",
    "--wd-vo": "optimizer.attention_weight_decay.vo",
    "--lr": "optimizer.learning_rate",
    "--steps": "training.steps",
    "--batch-size": "training.batch_size",
    "--mixed-precision": "training.mixed_precision",
    "--data": "data.source",
    "--seed": "seed",
}


SWEEP_FLAGS = {flag: key for flag, key in FIT_FLAGS.items() if flag != "--seed"} | {"--seeds": "seeds"}


STUDY_FLAGS = {
    "--wd-attn": "sweep.attention_weight_decay",
    "--seeds": "seeds",
    "--jobs": "jobs",
    "--data": "data.source",
    "--loss-scale": "loss_scale",
}


def settings_flags(flags):
    """Add short flags; their values go to the settings as text and are checked there."""

    def add(command):
        command = click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting, e.g. model.key_dim=2."
        )(command)
        for flag, key in reversed(flags.items()):
            name = key.replace(".", "__")
            command = click.option(flag, name, metavar="VALUE", help=f"{key} of the settings.")(command)
        return command

    return add


@cli.command()
@click.argument("model", required=False)
@settings_flags(FIT_FLAGS)
@click.option("--config", metavar="CONFIG", help="Another config of MODEL than configs/MODEL.yaml, by name or path.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="A new directory for the run.")
@click.option("--resume", "resumed", type=click.Path(path_type=Path), help="Go on with a broken run.")
@click.option("-v", "--verbose", is_flag=True, help="Show the decay group of every variable.")
@click.option("--stop-with-input", is_flag=True, hidden=True, help="Stop, saved, when standard input ends.")
@one_line_errors
def fit(model, assignments, config, run_dir, resumed, verbose, stop_with_input, **flags):
    """Train MODEL, a config's name in configs/ or a path to one, into a run directory.

    \b
    python cli.py fit vit --wd-attn 0
    python cli.py fit vit --wd-qk 0 --wd-vo 1 --set model.num_layers=2
    python cli.py fit gpt --config configs/gpt-125m.yaml --mixed-precision bfloat16
    python cli.py fit vit --set 'optimizer.decay_groups={"block_0/.*": 1}'
    python cli.py fit --resume saved_models/vit-20260101-120000

    A flag goes over --set, --set over the config; --wd-qk and --wd-vo go over --wd-attn.
    """
    from training.run_directory import read_json, read_settings
    from training.settings_reader import UserError

    if stop_with_input:
        from training.signals import stop_when_input_ends

        stop_when_input_ends()
    overrides = overrides_of(assignments, flags)
    if resumed is not None:
        if model or config or overrides or run_dir:
            raise UserError("--resume takes everything from the run's own settings.yaml: leave MODEL and the flags out")
        read_settings(resumed)
        choose_backend(read_json(resumed / "environment.json").get("backend"))
    else:
        if not (model or config):
            raise UserError("Name a MODEL, such as: python cli.py fit vit. Or go on with a run by --resume RUN")
        settings = settings_of(model, config, overrides)
        choose_backend()
    from training.checkpoint import InterruptedRunError
    from training.fit import DivergedError, resume
    from training.fit import fit as train

    try:
        if resumed is not None:
            run = resume(resumed, echo=say)
        else:
            run = train(settings, run_dir, echo=say, verbose=verbose)
    except InterruptedRunError as stop:
        say()
        click.echo(f"Stopped at step {stop.step}, saved. Go on with: python cli.py fit --resume {stop.run}", err=True)
        sys.exit(128 + stop.signal_number)
    except DivergedError as error:
        say()
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    _show([run])
    if not stop_with_input:  # a sweep's log is no place for it
        show_sample(run)


def show_sample(run):
    """How a language model goes on from nothing: what it has learned, to a person's eye."""
    from training.run_directory import read_settings
    from training.sample import sample as write

    if read_settings(run).model.name == "gpt":
        click.echo(f"\na sample (more: python cli.py sample {run} --prompt TEXT)")
        for piece in write(run, length=300):
            click.echo(piece, nl=False)
        click.echo()


def settings_of(model, config, overrides):
    """The settings of MODEL, or of another config of it, with overrides."""
    from training.settings import config_path, load_settings
    from training.settings_reader import UserError

    settings = load_settings(config_path(config or model), overrides)
    if config and model and settings.model.name != model:
        raise UserError(f"--config {config} must be of model {model}. Received: one of model {settings.model.name}")
    return settings


def overrides_of(assignments, flags):
    """`--set` first and the flags after it, as (dotted key, value)."""
    from training.settings_reader import parse_assignment

    given = [f"{key.replace('__', '.')}={value}" for key, value in flags.items() if value is not None]
    return [parse_assignment(text) for text in (*assignments, *given)]


@cli.command()
@click.argument("model", required=False)
@settings_flags(SWEEP_FLAGS)
@click.option("--config", metavar="CONFIG", help="Another config of MODEL than configs/MODEL.yaml, by name or path.")
@click.option("--over", multiple=True, metavar="KEY=V,V", help="Vary any setting, e.g. optimizer.epsilon=1e-8,1e-3.")
@click.option("--jobs", type=int, help="Runs side by side; two where there are two cores.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Directory of the sweep, new or to be extended.")
@click.option("--resume", "resumed", type=click.Path(path_type=Path), help="Go on with a broken sweep.")
@one_line_errors
def sweep(model, assignments, config, over, jobs, run_dir, resumed, **flags):
    """Train MODEL once for each point of a grid and each seed, some runs at a time, and compare.

    \b
    python cli.py sweep vit --wd-attn 0,0.1,0.3 --seeds 3
    python cli.py sweep vit --wd-attn 0,1 --lr 1e-3,4e-3 --seeds 4,7 --jobs 4
    python cli.py sweep linear --over optimizer.epsilon=1,10 --over 'data.singular_values=[1],[1,2]'
    python cli.py sweep --resume saved_models/SWEEP

    Flags of fit take several values, parted by commas: the grid is their product, in the order given. --set is the same
    in all runs. --seeds 3 means the seeds 0, 1, 2; --seeds 4,7 those two; without it there are three. --run-dir may
    name a sweep that is there, to give it more values or seeds: its complete runs are kept, broken ones gone on with.
    The exit code is 1 if a run fails.
    """
    from training.grid import read_sweep, split_flags
    from training.settings_reader import UserError
    from training.sweep import InterruptedSweepError, resume_sweep, run_sweep
    from training.tables import print_sweep

    given = {key.replace("__", "."): text for key, text in flags.items() if text is not None}
    try:
        if resumed is not None:
            if model or config or given or assignments or over or run_dir:
                raise UserError(
                    "--resume takes everything from the sweep.yaml: leave MODEL and all flags but --jobs out"
                )
            choose_backend(read_sweep(resumed).backend)
            done = resume_sweep(resumed, jobs, echo=say)
        else:
            if not (model or config):
                raise UserError("Name a MODEL, such as: python cli.py sweep vit --wd-attn 0,1. Or --resume SWEEP")
            ((_, seeds),) = overrides_of((), {"seeds": given.pop("seeds", "3")})
            fixed, varied = split_flags(given, over)
            settings = settings_of(model, config, overrides_of(assignments, fixed))
            begun = run_dir is not None and (run_dir / "sweep.yaml").exists()
            choose_backend(read_sweep(run_dir).backend if begun else None)
            done = run_sweep(settings, varied, seeds, run_dir, jobs, echo=say)
    except InterruptedSweepError as stop:
        click.echo(f"Stopped; go on with: python cli.py sweep --resume {stop.directory}", err=True)
        sys.exit(128 + stop.signal_number)
    print_sweep(done)
    click.echo(f"run by run: python cli.py show {done.directory}")
    for name, failure in done.failures.items():
        click.echo(f"Error: {name}: {failure}", err=True)
    if done.failures:
        sys.exit(1)


@cli.command()
@click.argument("name", required=False)
@settings_flags(STUDY_FLAGS)
@click.option("--quick", is_flag=True, help="A shorter form, of a study that trains for long.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="A new directory for the study.")
@click.option("--resume", "resumed", type=click.Path(path_type=Path), help="Go on with a broken study.")
@one_line_errors
def study(name, assignments, quick, run_dir, resumed, **flags):
    """Redo a figure or the theory of the paper: records, a picture, and a verdict for each claim.

    \b
    python cli.py study                        the list of studies
    python cli.py study figure-1
    python cli.py study figure-1 --seeds 5 --set "optimizer.l2=[0, 0.3]"
    python cli.py study figure-1 --loss-scale full
    python cli.py study figure-3 --quick
    python cli.py study figure-3 --wd-attn 0,0.1,0.3 --seeds 5
    python cli.py study --resume saved_models/STUDY

    --seeds 3 means the seeds 0, 1, 2; --seeds 4,7 those two. The exit code is 1 if a verdict is not the expected one.
    """
    from training.run_directory import read_json
    from training.settings_reader import UserError, nearest

    overrides = overrides_of(assignments, flags)
    if resumed is not None and (name or overrides or quick or run_dir):
        raise UserError("--resume takes everything from the study.yaml: leave NAME and the flags out")
    # Runs are trained in processes of their own: on a GPU this one must not take all memory beside them.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    begun = resumed is not None and (resumed / "environment.json").exists()
    choose_backend(read_json(resumed / "environment.json").get("backend") if begun else None)
    from studies import STUDIES, resume_study, run_study
    from training.sweep import InterruptedSweepError

    if name is None and resumed is None:
        width = max(map(len, STUDIES))
        for known in STUDIES.values():
            click.echo(f"{known.name:{width}}  {known.title}")
        return
    if resumed is None and name not in STUDIES:
        raise UserError(f"There is no study {name}{nearest(name, STUDIES)}. Known: {', '.join(STUDIES)}")
    try:
        if resumed is not None:
            _, as_expected = resume_study(STUDIES, resumed, echo=say)
        else:
            _, as_expected = run_study(STUDIES[name], overrides, run_dir, echo=say, quick=quick)
    except InterruptedSweepError as stop:
        click.echo(f"Stopped; go on with: python cli.py study --resume {stop.directory}", err=True)
        sys.exit(128 + stop.signal_number)
    if not as_expected:
        sys.exit(1)


@cli.group()
def data():
    """Prepare data for training."""


@data.command()
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="A new directory for the shards.")
@click.option("--vocabulary", default="gpt2", metavar="NAME", help="gpt2 (the default) or characters.")
@click.option("--held-out-every", type=int, default=10, metavar="N", help="Hold out every Nth document (10).")
@click.option("--jobs", type=int, help="Processes; all cores by default, at most 16.")
@one_line_errors
def tokenize(source, to, vocabulary, held_out_every, jobs):
    """Turn SOURCE, a file of documents or a folder of them, into shards of tokens that training maps into memory.

    \b
    python cli.py data tokenize pile/train --to pile-gpt2
    python cli.py data tokenize book.jsonl.zst --to book --vocabulary characters

    A line of .jsonl is a document and has a field "text"; a .txt file is one document; both may be packed as .zst or
    .gz. Without SOURCE: the State of the Union addresses. The same command goes on after a kill. Bad lines are counted
    and named in bad_lines.csv.
    """
    from data.tokenize import tokenize as write_shards
    from training.settings_reader import UserError

    try:
        with click.progressbar(length=1, label="tokenize") as bar:

            def progress(done, total):
                bar.length = total
                bar.update(done - bar.pos)

            index = write_shards(source, to, vocabulary, held_out_every, jobs, progress)
    except KeyboardInterrupt:
        click.echo("Stopped; the same command goes on.", err=True)
        sys.exit(130)
    except ValueError as error:
        raise UserError(str(error)) from error
    for part, documents in index["documents"].items():
        click.echo(f"{part}: {index['tokens'][part]:,} tokens of {documents:,} documents")
    if index["unknown"]:
        click.echo(f"{index['unknown']:,} characters are not in the vocabulary {vocabulary}, and one unknown token")
    if index["source"]["other_files"]:
        click.echo(f"{index['source']['other_files']:,} other files, or links to folders, were left out")
    if index["bad_lines"]:
        click.echo(f"{index['bad_lines']:,} bad lines were left out: {to / 'bad_lines.csv'} names them", err=True)
    click.echo(f"train on it: --data text --set data.path={to} --set data.vocabulary={vocabulary}")


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--prompt", default="", help="Text to go on with; without it, the start of a document.")
@click.option("--length", type=int, default=500, show_default=True, help="Tokens to add; EOS ends the text earlier.")
@click.option("--temperature", type=float, default=0.8, show_default=True, help="0: always the likeliest token.")
@click.option("--top-k", type=int, help="Draw from so many likeliest tokens only.")
@click.option("--seed", type=int, default=0, show_default=True, help="One seed, one text.")
@one_line_errors
def sample(run, **options):
    """Let the gpt that RUN has trained write on.

    \b
    python cli.py sample saved_models/RUN --prompt "The state of the Union"
    python cli.py sample saved_models/RUN --temperature 0 --length 100
    """
    from training.run_directory import read_json, read_settings

    read_settings(run)
    choose_backend(read_json(run / "environment.json").get("backend"))
    from training.sample import sample as write

    for text in write(run, **options):
        click.echo(text, nl=False)
    click.echo()


ANALYZE_OPTIONS = (
    click.option("--num-heads", type=click.IntRange(min=1), help="Heads, where no config.json says so, or another."),
    click.option("--key-dim", type=click.IntRange(min=1), help="Key dimension of a head, likewise."),
    click.option("--map", "name_map", type=click.Path(path_type=Path), help="YAML file that names the tensors."),
    click.option("--kernels-only", is_flag=True, help="Leave biases out, as the paper and our monitor do."),
    click.option("--jobs", type=click.IntRange(min=1), help="Threads; all cores by default."),
    click.option("--html", type=click.Path(path_type=Path), help="Also write one page to look at and to share."),
)


def analyze_options(command):
    """Add what `analyze` and `compare` have in common."""
    for option in reversed(ANALYZE_OPTIONS):
        command = option(command)
    return command


@cli.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@analyze_options
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw figure 5 of the paper: .png, .svg or .pdf.")
@one_line_errors
def analyze(paths, html, form, plot, **options):
    """Read ranks, gaps and balances of attention from model files, each beside its Gaussian null.

    \b
    python cli.py analyze Llama-2-7b-hf
    python cli.py analyze model.safetensors --num-heads 12 --html report.html
    python cli.py analyze saved_models/RUN --plot figure-5.png
    python cli.py analyze pythia-70m --format csv

    PATH is a file (.safetensors, .keras, .weights.h5, .onnx, .npz) or a folder: of Hugging Face, of KerasHub, a run of
    ours. A folder of several checkpoints, step1000, step2000 …, gives the curves over training. (Those of a run of ours
    are in its ranks.csv.)
    """
    outputs = {option: path for option, path in (("--html", html), ("--plot", plot)) if path is not None}
    analyses = analyses_of(paths, outputs, **options)
    if html is not None:
        from reports.page import write_page

        write_page(analyses, html, " ".join(["python cli.py", *sys.argv[1:]]))
    if plot is not None:
        from reports.figure_5 import draw_figure_5

        draw_figure_5(analyses, plot)
    if form == "table":
        from analysis.tables import print_analyses

        print_analyses(analyses)
    else:
        from analysis import as_csv, as_json

        click.echo((as_csv if form == "csv" else as_json)(analyses), nl=form == "json")
    for path in outputs.values():
        click.echo(f"written: {path}", err=True)


@cli.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@analyze_options
@one_line_errors
def compare(before, after, html, **options):
    """Show what differs between two checkpoints of one architecture, head by head.

    \b
    python cli.py compare pythia-70m/step1000 pythia-70m/step143000
    python cli.py compare saved_models/A saved_models/B --html a-and-b.html
    """
    from training.settings_reader import UserError

    outputs = {} if html is None else {"--html": html}
    analyses = analyses_of((before, after), outputs, wanted=2, **options)
    from analysis import compare as subtract
    from analysis.tables import print_comparison

    try:
        differences = subtract(*analyses)
    except ValueError as error:
        raise UserError(str(error)) from error
    if html is not None:
        from reports.page import write_page

        write_page(analyses, html, " ".join(["python cli.py", *sys.argv[1:]]), compare=True)
        click.echo(f"written: {html}", err=True)
    print_comparison(*analyses, differences)


def check_outputs(outputs):
    """Refuse, before anything is measured, an output that could not be written, or would fall on something else."""
    from reports.figure_5 import SUFFIXES
    from training.settings_reader import UserError

    for option, path in outputs.items():
        suffixes = {"--html": (".html", ".htm"), "--plot": SUFFIXES}[option]
        if path.suffix.lower() not in suffixes:
            raise UserError(f"{option} must name a {' or '.join(suffixes)} file. Received: {path}")
        try:
            fits = path.parent.is_dir() and (path.is_file() or not path.exists())
        except OSError:
            fits = False
        if not fits or not os.access(path.parent, os.W_OK | os.X_OK):
            raise UserError(f"{option} must name a file in a folder that can be written to. Received: {path}")


def analyses_of(paths, outputs, num_heads, key_dim, name_map, kernels_only, jobs, wanted=None):
    """Analyse the checkpoints at the paths, `wanted` in number if given, with a bar on standard error."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from analysis import analyze as measure
    from checkpoints import find_checkpoints, open_checkpoint
    from training.settings_reader import UserError

    check_outputs(outputs)
    analyses, path = [], paths[0]
    try:
        found = [checkpoint for path in paths for checkpoint in find_checkpoints(path)]
        if wanted is not None and len(found) != wanted:
            named = " and ".join(map(str, paths))
            raise UserError(f"{wanted} checkpoints are wanted. Received: {named}, which hold {len(found)}")
        for number, path in enumerate(found, 1):
            checkpoint = open_checkpoint(path, num_heads, key_dim, name_map, kernels_only)
            label = f"{number}/{len(found)} {checkpoint.name}" if len(found) > 1 else checkpoint.name
            show = {"file": sys.stderr, "item_show_func": lambda at: at, "hidden": not sys.stderr.isatty()}
            with click.progressbar(length=1, label=label, **show) as bar:

                def progress(done, total, at, bar=bar):
                    bar.length = total
                    bar.update(done - bar.pos, at)

                analyses.append(measure(checkpoint, jobs, progress))
    except ValueError as error:
        named = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise UserError(named) from error
    return analyses


@cli.command()
@one_line_errors
def models():
    """List the zoo: each config with its model's parameters and factor pairs."""
    choose_backend()
    from training.build import describe_models
    from training.tables import print_models

    print_models(describe_models())


@cli.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN]...")
@click.option("--json", "as_json", is_flag=True, help="Print the summaries as JSON, one object a run.")
@one_line_errors
def show(runs, as_json):
    """Show runs side by side; a folder stands for all runs below it (default: saved_models)."""
    from training.run_directory import SAVED_MODELS, find_runs

    _show([run for path in runs or [SAVED_MODELS] for run in find_runs(path)], as_json)


def _show(runs, as_json=False):
    from training.run_directory import read_summary
    from training.tables import print_runs

    summaries = {run: read_summary(run) for run in runs}
    if as_json:
        click.echo(json.dumps({str(run): summary for run, summary in summaries.items()}, indent=2))
    else:
        print_runs(summaries)


def choose_backend(preferred=None):
    """Set KERAS_BACKEND before Keras is imported: as asked for, else the first that is installed.

    An import of Keras without a usable backend ends in a traceback; here it is one line.
    """
    from training.settings_reader import UserError

    # OpenBLAS' threads fight over the many small SVDs of a reading and slow them 10 to 200 times.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
    if not installed:
        raise UserError(
            "No backend is installed. Install one: pip install -c constraints.txt -e '.[tensorflow]' (or jax, torch)"
        )
    asked = os.environ.get("KERAS_BACKEND") or preferred
    if asked and asked not in BACKENDS:
        raise UserError(f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Received: {asked}")
    if asked and asked not in installed:
        raise UserError(f"The backend {asked} is not installed: pip install -c constraints.txt -e '.[{asked}]'")
    os.environ["KERAS_BACKEND"] = asked or installed[0]


if __name__ == "__main__":
    cli()
