"""Families against transformers' own classes: heads as its attention splits them, probed with unit vectors."""

import os

import numpy as np
import pytest

if os.environ.get("KERAS_BACKEND") != "torch":
    pytest.skip("transformers needs PyTorch, which only the torch backend loads", allow_module_level=True)
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from rankscope.checkpoints import find_attention, open_tensors  # noqa: E402
from rankscope.checkpoints.notes import ALIBI, BIAS, GROUPED, KEY_BIAS, QK_NORM, RELATIVE, ROPE  # noqa: E402

pytestmark = pytest.mark.once

WIDTH = {"hidden_size": 36, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 16}
TEXT = {**WIDTH, "vocab_size": 17, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
ROTARY = {**TEXT, "hidden_size": 40}  # rotary heads are even
GROUPS = {**ROTARY, "num_key_value_heads": 2}
N = {"n_embd": 36, "n_layer": 2, "n_head": 4, "vocab_size": 17, "bos_token_id": 1, "eos_token_id": 2}
IMAGE = {"image_size": 8, "patch_size": 4}
FALCON = {"hidden_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 17}
ROBERTA = {**TEXT, "max_position_embeddings": 20}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2}
WHISPER = {
    "d_model": 36,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "vocab_size": 17,
    "num_mel_bins": 4,
    "max_source_positions": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "begin_suppress_tokens": None,
}
#: name of the case → name of the family, config class, its arguments, notes, in order.
CASES = {
    "GPT-2": ("GPT-2", "GPT2Config", N, [BIAS, KEY_BIAS]),
    "GPT-J": ("GPT-J", "GPTJConfig", {**N, "n_embd": 40, "rotary_dim": 4}, [ROPE]),
    "GPT-NeoX": ("GPT-NeoX", "GPTNeoXConfig", ROTARY, [ROPE, BIAS]),
    "OPT": (
        "OPT",
        "OPTConfig",
        {**TEXT, "ffn_dim": 16, "word_embed_proj_dim": 36, "max_position_embeddings": 16},
        [BIAS, KEY_BIAS],
    ),
    "BLOOM": ("BLOOM", "BloomConfig", {**N, "hidden_size": 36}, [ALIBI, BIAS, KEY_BIAS]),
    "Falcon 7B": ("Falcon", "FalconConfig", {**FALCON, **TOKENS, "multi_query": True}, [ROPE, GROUPED]),
    "Falcon RW": (
        "Falcon",
        "FalconConfig",
        {**FALCON, **TOKENS, "multi_query": False, "alibi": True, "bias": True},
        [ALIBI, BIAS, KEY_BIAS],
    ),
    "Falcon 40B": (
        "Falcon",
        "FalconConfig",
        {**FALCON, **TOKENS, "new_decoder_architecture": True, "num_kv_heads": 2, "bias": True},
        [ROPE, GROUPED, BIAS],
    ),
    "LLaMA": ("LLaMA", "LlamaConfig", {**TEXT, "hidden_size": 36, "head_dim": 6}, [ROPE]),
    "LLaMA 3": (
        "LLaMA",
        "LlamaConfig",
        {**GROUPS, "head_dim": 6, "attention_bias": True},
        [ROPE, GROUPED, BIAS],
    ),
    "Mistral": ("Mistral", "MistralConfig", {**GROUPS, "head_dim": 14}, [ROPE, GROUPED]),
    "Mixtral": ("Mistral", "MixtralConfig", {**GROUPS, "num_local_experts": 2}, [ROPE, GROUPED]),
    "Qwen2": ("Qwen", "Qwen2Config", GROUPS, [ROPE, GROUPED, BIAS]),
    "Qwen3": ("Qwen", "Qwen3Config", {**GROUPS, "head_dim": 6}, [ROPE, QK_NORM, GROUPED]),
    "Gemma": ("Gemma", "GemmaConfig", {**GROUPS, "num_key_value_heads": 1, "head_dim": 6}, [ROPE, GROUPED]),
    "Gemma 2": ("Gemma", "Gemma2Config", {**GROUPS, "head_dim": 6}, [ROPE, GROUPED]),
    "Gemma 3": ("Gemma", "Gemma3TextConfig", {**GROUPS, "head_dim": 6}, [ROPE, QK_NORM, GROUPED]),
    "Phi": ("Phi", "PhiConfig", {**ROTARY, "hidden_size": 48}, [ROPE, BIAS]),
    "Phi, QK-norm": (
        "Phi",
        "PhiConfig",
        {**GROUPS, "hidden_size": 48, "qk_layernorm": True},
        [ROPE, QK_NORM, GROUPED, BIAS],
    ),
    "Phi-3": ("Phi-3", "Phi3Config", GROUPS, [ROPE, GROUPED]),
    "OLMo": ("OLMo", "OlmoConfig", GROUPS, [ROPE, GROUPED]),
    "OLMo 2": ("OLMo", "Olmo2Config", GROUPS, [ROPE, QK_NORM, GROUPED]),
    "StableLM": ("StableLM", "StableLmConfig", {**GROUPS, "use_qkv_bias": True}, [ROPE, GROUPED, BIAS]),
    "StableLM 2": ("StableLM", "StableLmConfig", {**GROUPS, "qk_layernorm": True}, [ROPE, QK_NORM, GROUPED]),
    "T5": (
        "T5",
        "T5Config",
        {"d_model": 36, "d_kv": 5, "num_layers": 2, "num_heads": 4, "d_ff": 16, "vocab_size": 17},
        [RELATIVE],
    ),
    "BERT": ("BERT", "BertConfig", TEXT, [BIAS, KEY_BIAS]),
    "RoBERTa": ("BERT", "RobertaConfig", ROBERTA, [BIAS, KEY_BIAS]),
    "DistilBERT": (
        "DistilBERT",
        "DistilBertConfig",
        {"dim": 36, "n_layers": 2, "n_heads": 4, "hidden_dim": 16, "vocab_size": 17},
        [BIAS, KEY_BIAS],
    ),
    "ViT": ("ViT", "ViTConfig", {**WIDTH, **IMAGE}, [BIAS, KEY_BIAS]),
    "ViT without biases": ("ViT", "ViTConfig", {**WIDTH, **IMAGE, "qkv_bias": False}, []),
    "DeiT": ("DeiT", "DeiTConfig", {**WIDTH, **IMAGE}, [BIAS, KEY_BIAS]),
    "DINOv2": (
        "DINOv2",
        "Dinov2Config",
        {"hidden_size": 36, "num_hidden_layers": 2, "num_attention_heads": 4, **IMAGE},
        [BIAS, KEY_BIAS],
    ),
    "CLIP": (
        "CLIP",
        "CLIPConfig",
        {"text_config": TEXT, "vision_config": {**WIDTH, **IMAGE, "hidden_size": 40, "num_attention_heads": 5}},
        [BIAS, KEY_BIAS],
    ),
    "SigLIP": (
        "SigLIP",
        "SiglipConfig",
        {
            "text_config": {**TEXT, "hidden_size": 40},
            "vision_config": {**WIDTH, **IMAGE, "hidden_size": 40, "num_attention_heads": 5},
        },
        [BIAS, KEY_BIAS],
    ),
    "Whisper": ("Whisper", "WhisperConfig", WHISPER, [BIAS]),
}
CAUSAL = ("GPT", "OPT", "Bloom", "Falcon", "Llama", "Mistral", "Mixtral", "Qwen", "Gemma", "Phi", "Olmo", "StableLm")
#: Attention that calls no exchangeable function: where its heads are split instead.
OWN_SPLIT = {"GPTJAttention": "_attn", "BloomAttention": "_reshape", "FalconAttention": "_split_heads"}
OUTPUTS = ("o_proj", "out_proj", "c_proj", "dense", "o", "out_lin")


class _Seen(Exception):  # noqa: N818
    """Ends a forward pass once query, key and value are known."""


class Probe:
    """Stands where attention mixes tokens, and keeps what comes in."""

    def __init__(self):
        self.modules, self.stop, self.heads = [], False, None

    def __call__(self, module, query, key, value, *rest, scaling=None, **kwargs):
        if scaling == 1.0 and getattr(module, "scaling", 1.0) != 1.0:
            query = query / module.scaling  # scaled before, as in OPT and Whisper
        self.keep(module, query, key, value)
        return query.new_zeros(query.shape[0], query.shape[2], query.shape[1], value.shape[3]), None

    def keep(self, module, *heads):
        self.modules.append(module)
        self.heads = heads
        if self.stop:
            raise _Seen

    def split_of(self, cls, name):
        original, probe = getattr(cls, name), self

        def split(module, *args, **kwargs):
            result = original(module, *args, **kwargs)
            heads = args[:3] if name == "_attn" else result
            if name == "_split_heads":  # (B, T, H, K)
                heads = [part.transpose(1, 2) for part in heads]
            probe.keep(module, *heads)
            return result

        return split


def model_of(name, arguments):
    torch.manual_seed(0)
    config = getattr(transformers, name)(**arguments)
    kind = "AutoModelForCausalLM" if name.startswith(CAUSAL) else "AutoModel"
    own = any(part in name for part in ("GPTJ", "Bloom", "Falcon"))
    model = getattr(transformers, kind).from_config(config, attn_implementation="eager" if own else "probe")
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            parameter.normal_(std=0.3)
            if "norm" in parameter_name.lower():
                parameter.add_(1)
    return model.eval()


def one_token(model, name):
    """Inputs of one token, or one image."""
    token = torch.zeros(1, 1, dtype=torch.long)
    if name.startswith(("ViT", "DeiT", "Dinov2")):
        return {"pixel_values": torch.zeros(1, 3, 8, 8)}
    if name.startswith(("CLIP", "Siglip")):
        return {"input_ids": token, "pixel_values": torch.zeros(1, 3, 8, 8)}
    if name.startswith("Whisper"):
        return {"input_features": torch.zeros(1, 4, 16), "decoder_input_ids": token, "use_cache": False}
    return {"input_ids": token, "use_cache": False, **({"decoder_input_ids": token} if name.startswith("T5") else {})}


def rows(heads):
    """Answers (D + 1, H, 1, K) to unit vectors and zero as the augmented factor (H, D + 1, K)."""
    heads = heads[:, :, 0].double().numpy().swapaxes(0, 1)  # (H, D + 1, K)
    return np.concatenate([heads[:, :-1] - heads[:, -1:], heads[:, -1:]], axis=1)


def probed(model, name, monkeypatch, probe):
    """Path → (query, key, value, output) of each attention module in the order of calls, as augmented factors."""
    names = {id(module): path for path, module in model.named_modules()}
    calls = {}

    def remember(module, args, kwargs):
        calls[id(module)] = (args, kwargs)

    hooks = [module.register_forward_pre_hook(remember, with_kwargs=True) for module in model.modules()]
    with torch.no_grad():
        model(**one_token(model, name))
    for hook in hooks:
        hook.remove()
    found = {}
    probe.stop = True
    for module in list(dict.fromkeys(probe.modules)):
        for part in ("q_norm", "k_norm", "q_layernorm", "k_layernorm"):
            if hasattr(module, part):
                monkeypatch.setattr(module, part, torch.nn.Identity())
        args, kwargs = calls[id(module)]
        hidden = args[0] if args else kwargs["hidden_states"]
        # One token at position 0 each, where a rotation is the identity.
        units = torch.cat([torch.eye(hidden.shape[-1]), torch.zeros(1, hidden.shape[-1])])[:, None]  # (D + 1, 1, D)
        swap = {id(hidden): units}
        for key in ("key_value_states", "encoder_hidden_states"):
            if torch.is_tensor(kwargs.get(key)):
                swap[id(kwargs[key])] = units
        args = [swap.get(id(value), value) for value in args]
        kwargs = {key: swap.get(id(value), value) for key, value in kwargs.items()}
        if len(args) > 1 and torch.is_tensor(args[1]) and args[1].shape == hidden.shape and name.startswith("Bloom"):
            args[1] = units  # the residual
        with torch.no_grad(), pytest.raises(_Seen):
            module(*args, **kwargs)
        query, key, value = (rows(part) for part in probe.heads)
        path = names[id(module)]
        projection = next((getattr(module, part) for part in OUTPUTS if hasattr(module, part)), None)
        if projection is None:  # BERT's stands beside
            projection = model.get_submodule(path.rpartition(".")[0]).output.dense
        inner = len(query) * value.shape[2]
        with torch.no_grad():
            output = (projection(torch.eye(inner)) - projection(torch.zeros(1, inner))).double().numpy()
        found[path] = (query, key, value, output.reshape(len(query), -1, output.shape[1]).swapaxes(1, 2))  # (H, D, V)
    return found


def assert_same_products(pair, a, b):
    left, right = pair.per_head()
    a, b = np.repeat(a, len(left) // len(a), axis=0), np.repeat(b, len(right) // len(b), axis=0)
    for factor, wanted in ((left, a), (right, b)):  # no row for a bias that is not there
        if factor.shape[1] < wanted.shape[1]:
            np.testing.assert_array_equal(wanted[:, -1], 0)
    a, b = a[:, : left.shape[1]], b[:, : right.shape[1]]
    wanted = a @ b.swapaxes(1, 2)
    np.testing.assert_allclose(left @ right.swapaxes(1, 2), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("case", CASES)
def test_heads_are_those_of_the_real_module(case, tmp_path, monkeypatch):
    family, name, arguments, notes = CASES[case]
    probe = Probe()
    transformers.AttentionInterface.register("probe", probe)
    model = model_of(name, arguments)
    for cls in {type(module) for module in model.modules()}:
        if cls.__name__ in OWN_SPLIT:
            method = OWN_SPLIT[cls.__name__]
            monkeypatch.setattr(cls, method, probe.split_of(cls, method))
    model.save_pretrained(tmp_path, safe_serialization=True)
    found = find_attention(open_tensors(tmp_path))
    assert found.family.name == family
    assert list(found.notes) == notes
    pairs = list(found.pairs())
    assert [(pair.pair, pair.layer) for pair in pairs] == [
        (kind, site.layer) for site in found.sites for kind in ("qk", "vo")
    ]
    pairs = {(pair.pair, pair.path): pair for pair in pairs}
    real = probed(model, name, monkeypatch, probe)
    sites = [site.path for site in found.sites if "head.attention" not in site.path]
    order = sorted(real, key=lambda path: "vision" in path)  # text first; within a tower, as called
    assert len(sites) == len(order) == len(set(sites))
    for path, module in zip(sites, order, strict=True):
        query, key, value, output = real[module]
        if "key" not in found.biases:
            key[:, -1] = 0  # the softmax undoes it
        assert_same_products(pairs["qk", path], key, query)
        assert_same_products(pairs["vo", path], output, value)


def test_siglip_s_pooling_head_is_read_too(tmp_path):
    """torch.nn.MultiheadAttention tells no one its heads, but with one key it is the sum of all vo products."""
    model = model_of("SiglipConfig", CASES["SigLIP"][2])
    model.save_pretrained(tmp_path, safe_serialization=True)
    pair = list(find_attention(open_tensors(tmp_path)).pairs())[-1]
    assert (pair.pair, pair.path, pair.heads) == ("vo", "vision_model.head.attention", 5)
    attention = next(module for module in model.modules() if isinstance(module, torch.nn.MultiheadAttention))
    x = torch.randn(1, 1, 40)
    with torch.no_grad():
        wanted = (attention(x, x, x)[0] - attention.out_proj.bias).numpy()[0, 0]
    a, b = pair.per_head()
    got = (a @ b.swapaxes(1, 2)).sum(axis=0) @ np.append(x.numpy()[0, 0], 1.0)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
