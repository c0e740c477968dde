"""`data tokenize` as its user calls it: what it says and what it exits with."""

import json

import pytest

pytestmark = pytest.mark.once


def test_tokenize_says_what_it_made_and_how_to_train_on_it(run_cli, tmp_path):
    lines = [json.dumps({"text": "wörds"})] * 20 + ["bad"]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    result = run_cli("data", "tokenize", tmp_path / "a.jsonl", "--to", tmp_path / "out", "--vocabulary", "characters")
    assert result.stdout.splitlines()[1:] == [
        "train: 108 tokens of 18 documents",
        "validation: 12 tokens of 2 documents",
        "20 characters are not in the vocabulary characters, and one unknown token",
        f"train on it: --data text:{tmp_path / 'out'} --set data.vocabulary=characters",
    ]
    assert result.stderr == f"1 bad lines were left out: {tmp_path / 'out' / 'bad_lines.csv'} names them\n"


def test_a_mistake_is_one_line_with_exit_code_2(run_cli, tmp_path):
    kinds = ".jsonl, .txt, .jsonl.zst, .txt.zst, .jsonl.gz, .txt.gz"
    nothing = tmp_path / "nothing"
    for arguments, message in [
        ([nothing], f"There is no text to read: {kinds}, or a folder of such files. Received: {nothing}"),
        (["--vocabulary", "gpt3"], "The vocabulary must be one of gpt2, characters. Received: gpt3"),
        (["--jobs", "0"], "jobs must be 1 to 256. Received: 0"),
    ]:
        result = run_cli("data", "tokenize", *arguments, "--to", tmp_path / "out", check=False)
        assert (result.returncode, result.stderr) == (2, f"Error: {message}\n")
    assert list(tmp_path.iterdir()) == []
