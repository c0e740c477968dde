"""Families, layouts and head counts against known factors: NumPy only."""

import copy
import re

import ml_dtypes
import numpy as np
import pytest

from rankscope.checkpoints.checkpoint import find_attention
from rankscope.checkpoints.families import FAMILIES
from rankscope.checkpoints.family import Family, Tower
from rankscope.checkpoints.name_map import LARGEST, read_name_map, to_yaml
from rankscope.checkpoints.notes import GROUPED
from rankscope.checkpoints.tensors import ArrayTensors, CheckpointError
from rankscope.factors import NonFiniteError

pytestmark = pytest.mark.once

H, KV, K, D = 6, 2, 5, 28
FAMILY_OF = {family.name: family for family in FAMILIES}
#: A site's path for each pattern of the table; "{}" is the layer.
PATHS = {
    r"h\.(?P<layer>\d+)\.attn": "transformer.h.{}.attn",
    r"layers\.(?P<layer>\d+)\.attention": "gpt_neox.layers.{}.attention",
    r"decoder\.layers\.(?P<layer>\d+)\.self_attn": "model.decoder.layers.{}.self_attn",
    r"decoder\.layers\.(?P<layer>\d+)\.encoder_attn": "model.decoder.layers.{}.encoder_attn",
    r"encoder\.layers\.(?P<layer>\d+)\.self_attn": "model.encoder.layers.{}.self_attn",
    r"h\.(?P<layer>\d+)\.self_attention": "h.{}.self_attention",
    r"layers\.(?P<layer>\d+)\.self_attn": "model.layers.{}.self_attn",
    r"encoder\.block\.(?P<layer>\d+)\.layer\.\d+\.SelfAttention": "encoder.block.{}.layer.0.SelfAttention",
    r"decoder\.block\.(?P<layer>\d+)\.layer\.\d+\.SelfAttention": "decoder.block.{}.layer.0.SelfAttention",
    r"decoder\.block\.(?P<layer>\d+)\.layer\.\d+\.EncDecAttention": "decoder.block.{}.layer.1.EncDecAttention",
    r"encoder\.layer\.(?P<layer>\d+)\.attention": "bert.encoder.layer.{}.attention",
    r"encoder\.layer\.(?P<layer>\d+)\.crossattention": "bert.encoder.layer.{}.crossattention",
    r"transformer\.layer\.(?P<layer>\d+)\.attention": "distilbert.transformer.layer.{}.attention",
    r"blocks\.(?P<layer>\d+)\.attn": "blocks.{}.attn",
    r"text_model\.encoder\.layers\.(?P<layer>\d+)\.self_attn": "text_model.encoder.layers.{}.self_attn",
    r"vision_model\.encoder\.layers\.(?P<layer>\d+)\.self_attn": "vision_model.encoder.layers.{}.self_attn",
    r"vision_model\.head\.attention": "vision_model.head.attention",
    r".+": "layers/block_{}/attention",
}
ROWS = [(family, index) for family in FAMILIES for index, tower in enumerate(family.towers) if tower.chain is None]


class Known:
    """Factors of one layer, (heads, D, K), biases (heads, K), and the tensors that a file would have of them."""

    def __init__(self, seed=0, kv=KV, dtype="f4"):
        rng = np.random.default_rng(seed)

        def draw(*shape):
            return rng.standard_normal(shape).astype(dtype)

        self.query, self.key, self.value, self.output = (draw(heads, D, K) for heads in (H, kv, kv, H))
        self.biases = {"query": draw(H, K), "key": draw(kv, K), "value": draw(kv, K)}
        self.kv = kv

    def fused(self, order, parts):
        """Rows of query, key, value: parts (heads, K, …)."""
        query, key, value = parts
        if order == "split":
            return np.concatenate([part.reshape(-1, *part.shape[2:]) for part in parts])
        groups = query.reshape(self.kv, H // self.kv, *query.shape[1:])
        rows = np.concatenate([groups, key[:, None], value[:, None]], axis=1)
        return rows.reshape(-1, *query.shape[2:])

    def tensors(self, tower, path, separator=".", biased=True):
        rows_first = {"out_in": (0, 1, 2), "in_out": (2, 0, 1), "heads": (2, 0, 1), "heads_first": (0, 2, 1)}
        matrix = {"out_in": (-1, D), "in_out": (D, -1)}.get(tower.stored)
        arrays = {}
        for role, name in tower.kernels.items():
            if role == "fused":
                rows = self.fused(tower.order, [part.swapaxes(1, 2) for part in (self.query, self.key, self.value)])
                if tower.stored == "heads":
                    array = np.ascontiguousarray(rows.T).reshape(D, H, 3 * K)
                else:
                    array = rows if tower.stored == "out_in" else np.ascontiguousarray(rows.T)
            else:
                kernel = getattr(self, role).swapaxes(1, 2)  # (H, K, D)
                if role == "output":
                    order = (2, 0, 1) if tower.stored == "out_in" else (0, 1, 2)
                    shape = (D, -1) if tower.stored == "out_in" else (-1, D)
                else:
                    order, shape = rows_first[tower.stored], matrix
                array = np.ascontiguousarray(kernel.transpose(order))
                array = array.reshape(shape) if matrix is not None else array
            arrays[f"{path}{separator}{name}"] = array
            if role != "output" and biased and tower.bias(role) is not None:
                bias = self.fused(tower.order, list(self.biases.values())) if role == "fused" else self.biases[role]
                bias = bias if len(array.shape) == 3 and role != "fused" else bias.reshape(-1)
                bias = bias.reshape(H, 3 * K) if len(array.shape) == 3 and role == "fused" else bias
                arrays[f"{path}{separator}{tower.bias(role)}"] = bias
        return arrays

    def assert_is(self, pairs, biased=True, read=("query", "value")):
        """The pairs are the known factors, with a row for biases: zeros for those that are not `read`."""
        query, key, value = (
            np.concatenate([getattr(self, role), (role in read) * bias[:, None]], axis=1)
            if biased
            else getattr(self, role)
            for role, bias in self.biases.items()
        )
        for pair, (kind, a, b) in zip(pairs, (("qk", key, query), ("vo", self.output, value)), strict=True):
            assert pair.pair == kind
            np.testing.assert_array_equal(pair.a, a)
            np.testing.assert_array_equal(pair.b, b)
            assert pair.a.dtype == pair.b.dtype == self.query.dtype
            left, right = pair.per_head()
            a, b = (np.repeat(np.float64(factor), H // len(factor), axis=0) for factor in (a, b))
            wanted = np.linalg.svd(a @ b.swapaxes(1, 2), compute_uv=False)
            got = np.linalg.svd(left @ right.swapaxes(1, 2), compute_uv=False)
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-10)


def config_of(family, tower, kv=KV):
    section = {tower.num_heads[0]: H} if tower.num_heads else {}
    section |= {tower.num_kv_heads[0]: kv} if tower.num_kv_heads else {}
    section |= {tower.key_dim[0]: K} if tower.key_dim and not tower.fused else {}
    config = {tower.section[0]: section} if tower.section else section
    return {**config, **({"model_type": family.model_types[0]} if family.model_types else {})}


@pytest.mark.parametrize("biased", [True, False], ids=["biased", "unbiased"])
@pytest.mark.parametrize("dtype", ["f4", ml_dtypes.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("family", "index"), ROWS, ids=[f"{family.name} {index}" for family, index in ROWS])
def test_a_row_s_tensors_give_their_factors(family, index, dtype, biased):
    tower = family.towers[index]
    kv = H if family.name == "KerasHub GPT-NeoX" else KV
    path = PATHS[tower.site]
    separator = "/" if tower.site == ".+" else "."
    layers = {layer: Known(layer, kv, dtype) for layer in ((2, 10) if "{}" in path else (0,))}
    arrays = {}
    for layer in reversed(layers):  # files are in no order
        arrays |= layers[layer].tensors(tower, path.format(layer), separator, biased)
    arrays["wte.weight"] = np.ones((11, D), "f4")
    biased = biased and any(tower.bias(role) for role in tower.kernels if role != "output")
    checkpoint = find_attention(ArrayTensors(arrays, config_of(family, tower, kv)))
    assert checkpoint.family.name == family.name
    assert [site.path for site in checkpoint.sites] == [path.format(layer) for layer in layers]
    assert [site.layer for site in checkpoint.sites] == list(range(len(layers)))
    for site in checkpoint.sites:
        assert site.tower == path.format("*")
        assert (site.heads, site.kv_heads, site.key_dim, site.value_dim, site.hidden_dim) == (H, kv, K, K, D)
        assert site.has_bias is biased
    assert (GROUPED in checkpoint.notes) == (kv != H)
    pairs = list(checkpoint.pairs())
    assert checkpoint.num_pairs == len(pairs)
    for number, known in enumerate(layers.values()):
        assert pairs[2 * number].layer == number
        known.assert_is(pairs[2 * number : 2 * number + 2], biased, checkpoint.biases)


def llama(config=None, **changes):
    """Arrays of one layer in LLaMA's names, some of other shapes."""
    known = Known().tensors(FAMILY_OF["LLaMA"].towers[0], "model.layers.0.self_attn", biased=False)
    for role, shape in changes.items():
        known[f"model.layers.0.self_attn.{role}_proj.weight"] = np.ones(shape, "f4")
    return ArrayTensors(
        known, {"model_type": "llama", "num_attention_heads": H} if config is None else config, "some/llama"
    )


def test_layers_are_read_one_at_a_time_and_fused_tensors_once():
    tower = FAMILY_OF["GPT-2"].towers[0]
    arrays = {}
    for layer in range(2):
        arrays |= Known().tensors(tower, f"h.{layer}.attn")
    tensors = ArrayTensors(arrays, {"model_type": "gpt2", "n_head": H})
    read = []
    original = tensors.read
    tensors.read = lambda name: read.append(name) or original(name)
    pairs = find_attention(tensors).pairs()
    assert read == []
    next(pairs)
    assert read == ["h.0.attn.c_attn.weight", "h.0.attn.c_attn.bias"]
    list(pairs)
    assert len(read) == len(set(read)) == 6


def test_without_biases_nothing_is_copied():
    tensors = llama()
    qk, vo = find_attention(tensors).pairs()
    assert np.shares_memory(qk.b, tensors.read("model.layers.0.self_attn.q_proj.weight"))
    assert np.shares_memory(vo.a, tensors.read("model.layers.0.self_attn.o_proj.weight"))


def test_a_key_s_bias_counts_where_the_softmax_does_not_undo_it():
    """It shifts all scores of a query alike, unless it is rotated by its position, or normalised with its key."""
    for name, gains, counts in (("OPT", False, False), ("OPT", True, True), ("Qwen", False, True)):
        tower, known = FAMILY_OF[name].towers[0], Known(kv=H)
        path = PATHS[tower.site].format(0)
        arrays = known.tensors(tower, path)
        if gains:
            arrays[f"{path}.k_norm.weight"] = np.ones(K, "f4")
        checkpoint = find_attention(ArrayTensors(arrays, config_of(FAMILY_OF[name], tower, H)), family=FAMILY_OF[name])
        assert ("key" in checkpoint.biases) is counts
        known.assert_is(list(checkpoint.pairs()), read=checkpoint.biases)


def test_kernels_alone_are_those_of_the_paper():
    known = Known()
    arrays = known.tensors(FAMILY_OF["LLaMA"].towers[0], "model.layers.0.self_attn")
    checkpoint = find_attention(ArrayTensors(arrays), num_heads=H, kernels_only=True)
    known.assert_is(list(checkpoint.pairs()), biased=False)
    assert "biases are left out" in checkpoint.notes[-1]


@pytest.mark.parametrize("missing", ["query", "key"])
def test_a_missing_bias_is_a_row_of_zeros(missing):
    tower = FAMILY_OF["LLaMA"].towers[0]  # rotary: both biases count
    known = Known()
    arrays = known.tensors(tower, "layers.0.self_attn")
    del arrays[f"layers.0.self_attn.{tower.bias(missing)}"]
    known.biases[missing][:] = 0
    checkpoint = find_attention(ArrayTensors(arrays), num_heads=H)
    known.assert_is(list(checkpoint.pairs()), read=checkpoint.biases)


@pytest.mark.parametrize("known", [{"num_heads": H}, {"key_dim": K}, {"num_heads": H, "key_dim": K}])
@pytest.mark.parametrize("name", ["LLaMA", "nanoGPT", "BLOOM", "timm ViT"])
def test_a_flag_tells_what_no_config_does(name, known):
    tower = FAMILY_OF[name].towers[0]
    arrays = Known().tensors(tower, PATHS[tower.site].format(0))
    site = find_attention(ArrayTensors(arrays), **known).sites[0]
    assert (site.heads, site.kv_heads, site.key_dim) == (H, KV, K)


def refused(tensors, *words, **known):
    with pytest.raises(CheckpointError) as caught:
        find_attention(tensors, **known)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_missing_heads_name_the_flags():
    refused(llama({}), "--num-heads", "--key-dim", "q_proj.weight", f"({H * K}, {D})")
    refused(llama({"model_type": "llama"}), "--num-heads", "--key-dim")


def test_wrong_heads_name_tensor_shape_numbers_and_key():
    words = ("q_proj.weight", f"({H * K}, {D})", "num_attention_heads in config.json")
    refused(llama({"model_type": "llama", "num_attention_heads": 7}), *words, "7")
    refused(llama({"num_attention_heads": H, "head_dim": 8}), *words, "head_dim in config.json", "48", "30")
    refused(llama({"num_attention_heads": H, "num_key_value_heads": 3}), "k_proj.weight", "num_key_value_heads", "15")
    refused(llama({"num_attention_heads": 5}), "k_proj.weight", "(10, 28)")  # 30 / 5 does not divide 10
    refused(llama({"num_attention_heads": H, "head_dim": K}, k=(4 * K, D)), "6 query heads", "4 key heads")
    refused(llama(v=(3 * K, D)), "v_proj.weight")
    refused(llama(o=(D, 31)), "o_proj.weight", "31")
    refused(llama(q=(H * K, D, 1)), "q_proj.weight", "out_in")
    refused(llama(q=(H * K, 3)), "q_proj.weight", "o_proj.weight", "hidden")


@pytest.mark.parametrize("value", [True, 0, -3, 2.5, "6", [6]])
def test_a_config_s_number_must_be_one(value):
    refused(llama({"model_type": "llama", "num_attention_heads": value}), "num_attention_heads", repr(value))


def test_flags_must_agree_with_config_and_shapes():
    refused(llama(), "--num-heads", "num_attention_heads in config.json", "3", "6", num_heads=3)
    refused(llama(), "--key-dim", "10", key_dim=10)
    refused(llama(), "--num-heads", "at least 1", num_heads=0)
    tower = FAMILY_OF["Keras"].towers[0]
    keras = ArrayTensors(Known().tensors(tower, "layers/mha", "/"))
    refused(keras, "--num-heads", "layers/mha/query_dense/vars/0", num_heads=3)
    assert find_attention(keras, num_heads=H).sites[0].tower == "layers/mha"


def test_a_vision_tower_of_another_family_is_left_with_a_note():
    text = Known().tensors(FAMILY_OF["LLaMA"].towers[0], "language_model.model.layers.0.self_attn")
    vision = Known(kv=H).tensors(FAMILY_OF["CLIP"].towers[1], "vision_tower.vision_model.encoder.layers.0.self_attn")
    config = {"model_type": "llava", "text_config": {"model_type": "llama"}, "num_attention_heads": H}
    checkpoint = find_attention(ArrayTensors(text | vision, config))
    assert [site.path for site in checkpoint.sites] == ["language_model.model.layers.0.self_attn"]
    assert "vision_tower.vision_model.encoder.layers.*.self_attn.q_proj.weight" in checkpoint.notes[0]


def test_a_flag_is_about_the_tower_that_the_config_is_silent_on():
    family = FAMILY_OF["CLIP"]
    arrays = {}
    for tower in family.towers:
        arrays |= Known(kv=H).tensors(tower, PATHS[tower.site].format(0))
    config = {"model_type": "clip", "text_config": {}, "vision_config": {"num_attention_heads": 3}}
    assert [site.heads for site in find_attention(ArrayTensors(arrays, config), num_heads=H).sites] == [H, 3]


def test_fused_rows_must_come_out_even():
    tower = FAMILY_OF["GPT-NeoX"].towers[0]
    arrays = Known(kv=H).tensors(tower, "layers.0.attention", biased=False)
    arrays["layers.0.attention.query_key_value.weight"] = np.ones((H * K + 7, D), "f4")
    refused(ArrayTensors(arrays, {"num_attention_heads": H}), "query_key_value.weight", "7 rows", "num_attention_heads")


def test_a_bias_of_another_size_is_refused():
    arrays = Known().tensors(FAMILY_OF["LLaMA"].towers[0], "layers.0.self_attn")
    arrays["layers.0.self_attn.k_proj.bias"] = np.ones(3, "f4")
    refused(ArrayTensors(arrays), "k_proj.bias", "(3,)", "k_proj.weight", num_heads=H)


def test_a_layer_that_lacks_a_kernel_is_refused():
    tensors = llama()
    del tensors.shapes["model.layers.0.self_attn.k_proj.weight"]
    refused(tensors, "k_proj.weight", "model.layers.0.self_attn")


def test_quantised_weights_are_refused():
    tensors = llama()
    tensors.shapes["model.layers.0.self_attn.q_proj.weight_scale"] = (1,)
    refused(tensors, "q_proj.weight", "quantised")


def test_unknown_names_are_listed_with_a_way_out():
    arrays = {f"net.{layer}.attn.mixer_{role}": np.ones((8, 8)) for layer in range(3) for role in "abcdefghij"}
    refused(ArrayTensors(arrays), "net.*.attn.mixer_a", "net.*.attn.mixer_h, …", "--map FILE.yaml")
    refused(ArrayTensors({"dense": np.ones((3, 3))}), "none of its 1 tensors", "--map FILE.yaml")
    refused(ArrayTensors({}), "--map FILE.yaml")
    hostile = {"\x1b[2J\nlayers.0.attn.query": np.ones((3, 3)), "layers.1.attn.q" * 1000: np.ones((3, 3))}
    refused(ArrayTensors(hostile), "--map FILE.yaml")


def test_an_unknown_model_is_read_by_its_names_but_for_fused_tensors():
    checkpoint = find_attention(llama({"model_type": "novel", "num_attention_heads": H}))
    assert "'novel' is not in the table" in checkpoint.notes[0]
    arrays = Known().tensors(FAMILY_OF["Phi-3"].towers[0], "layers.0.self_attn")
    refused(ArrayTensors(arrays, {"model_type": "novel"}), "'novel'", "qkv_proj.weight", "--map", num_heads=H)


def test_a_doubt_between_families_is_a_note():
    arrays = Known().tensors(FAMILY_OF["BLOOM"].towers[0], "h.0.self_attention")
    checkpoint = find_attention(ArrayTensors(arrays), num_heads=H)
    assert "Falcon" in checkpoint.notes[0]
    assert "no config.json" in checkpoint.notes[0]


def test_weights_that_are_not_finite_surface_with_pair_and_path():
    tensors = llama()
    tensors.read("model.layers.0.self_attn.o_proj.weight")[0, 0] = np.nan
    with pytest.raises(NonFiniteError, match=r"'vo' at 'model\.layers\.0\.self_attn'"):
        list(find_attention(tensors).pairs())


def test_rankscope_s_output_bias_is_no_bias_of_the_query():
    tower = FAMILY_OF["Rankscope"].towers[1]
    known = Known(kv=H)
    arrays = known.tensors(tower, "layers/transformer_block/attention", "/", biased=False)
    arrays["layers/transformer_block/attention/vars/4"] = np.ones(D, "f4")
    checkpoint = find_attention(ArrayTensors(arrays))
    assert not checkpoint.sites[0].has_bias
    known.assert_is(list(checkpoint.pairs()), biased=False)


@pytest.mark.parametrize("replicas", [(), (3,)], ids=["one", "replicas"])
@pytest.mark.parametrize("path", ["layers/factor_chain/vars/", "factors/kernel_"])
def test_a_chain_gives_products(path, replicas):
    rng = np.random.default_rng(0)
    kernels = [rng.standard_normal((*replicas, *size)) for size in ((7, 5), (5, 4), (4, 6))]
    tensors = ArrayTensors({f"{path}{index}": kernel for index, kernel in reversed(list(enumerate(kernels)))})
    checkpoint = find_attention(tensors)
    pairs = list(checkpoint.pairs())
    assert [(pair.pair, pair.layer) for pair in pairs] == [("product", 0), ("product", 1)]
    assert [(site.layer, site.heads, site.key_dim) for site in checkpoint.sites] == [
        (0, len(kernels[0]) if replicas else 1, 5),
        (1, len(kernels[0]) if replicas else 1, 4),
    ]
    for pair, first, second in zip(pairs, kernels[:-1], kernels[1:], strict=True):
        np.testing.assert_allclose(
            pair.a @ pair.b.swapaxes(1, 2),
            np.reshape((first @ second).swapaxes(-1, -2), (-1, *pair.a.shape[1:2], first.shape[-2])),
        )
    refused(ArrayTensors({f"{path}0": np.ones((2, 3)), f"{path}1": np.ones((2, 3))}), "no factors of one product")


def test_keras_names_without_a_number_come_first_and_share_a_tower():
    tower = FAMILY_OF["Keras"].towers[0]
    arrays = {}
    for layer in ("_10", "_2", ""):
        arrays |= Known().tensors(tower, f"layers/block{layer}/attention", "/")
    sites = find_attention(ArrayTensors(arrays)).sites
    assert [site.path for site in sites] == [f"layers/block{layer}/attention" for layer in ("", "_2", "_10")]
    assert {site.tower for site in sites} == {"layers/block_*/attention"}


def test_t5_s_decoder_takes_turns():
    family = FAMILY_OF["T5"]
    arrays = {}
    for layer in range(2):
        for tower in reversed(family.towers):
            arrays |= Known(kv=H).tensors(tower, PATHS[tower.site].format(layer), biased=False)
    sites = find_attention(ArrayTensors(arrays, {"model_type": "t5", "num_heads": H})).sites
    assert [re.sub(r"\.layer\.\d", "", site.path) for site in sites] == [
        *(f"encoder.block.{layer}.SelfAttention" for layer in range(2)),
        *(f"decoder.block.{layer}.{kind}" for layer in range(2) for kind in ("SelfAttention", "EncDecAttention")),
    ]


# === Name maps ===

MINE = {
    "name": "mine",
    "towers": [
        {
            "site": r"stage_(?P<layer>\d+)\.mix",
            "fused": "in.w",
            "output": "out.w",
            "order": "interleaved",
            "biases": ["in.b"],
            "num_heads": ["heads"],
        }
    ],
}


def write(tmp_path, tree):
    import yaml

    path = tmp_path / "map.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return path


def test_a_name_map_reads_what_the_table_does_not_know(tmp_path):
    family = read_name_map(write(tmp_path, MINE))
    known = Known()
    arrays = known.tensors(family.towers[0], "net.stage_3.mix")
    checkpoint = find_attention(ArrayTensors(arrays, {"heads": H}), family=family)
    assert (checkpoint.family.name, checkpoint.sites[0].tower) == ("mine", "net.stage_*.mix")
    known.assert_is(list(checkpoint.pairs()))
    refused(llama(), "'mine'", "q_proj.weight", family=family)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_row_is_a_name_map(family, tmp_path):
    assert read_name_map(write(tmp_path, to_yaml(family))) == family


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rotary": True}, "towers.0.rotary is no key"),
        ({"site": "h.(?P<layer>"}, "no regular expression"),
        ({"site": "(a+)+b"}, "must not repeat"),
        ({"site": "((a|b)c){9}b"}, "must not repeat"),
        ({"site": ".*a.*a.*a.*b"}, "3 repeats"),
        ({"site": r"(?P<number>\d+)"}, "layer"),
        ({"site": "a" * 300}, "256"),
        ({"order": "mixed"}, "'mixed'"),
        ({"output": None}, "fused and output"),
        ({"query": "q"}, "fused and output"),
        ({"biases": ["a", "b"]}, "one bias for each of fused"),
    ],
)
def test_mistakes_of_a_name_map_are_one_line(change, words, tmp_path):
    tree = copy.deepcopy(MINE)
    tree["towers"][0] |= change
    with pytest.raises(CheckpointError, match=re.escape(words)) as caught:
        read_name_map(write(tmp_path, tree))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1", "must hold"),
        ("name: [", "not YAML"),
        ("a: !!python/object:os.system x", "not YAML"),
        ("x" * (LARGEST + 1), "larger"),
        ("name: a\ntowers: []", "towers"),
        ("[" * 5000, "YAML"),
    ],
)
def test_files_that_are_no_name_map(text, words, tmp_path):
    with pytest.raises(CheckpointError, match=words) as caught:
        read_name_map(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_name_map(tmp_path / "none.yaml")


def test_a_tower_says_what_it_takes():
    with pytest.raises(ValueError, match="query, key, value and output"):
        Tower(site="x", query="q", key="k", value="v")
    with pytest.raises(ValueError, match="towers"):
        Family(name="empty", towers=())
    assert Tower(site="x", chain="k").match("y" * 600) is None
