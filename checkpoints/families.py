"""The table of families: how each architecture names and stores its attention, and what is special about it.

A family is one row; family.py says what a row can hold. Whatever no row here says stands in a user's own row,
`--map FILE.yaml` (name_map.py).
"""

from rankscope.checkpoints.family import Family, Tower


def _linear(site: str, names: str, **other) -> Tower:
    """Four Linears; `names` holds those of query, key, value and output, apart by blanks."""
    roles = zip(("query", "key", "value", "output"), names.split(), strict=True)
    return Tower(site=site, **{role: f"{name}.weight" for role, name in roles}, **other)


_LLAMA = _linear(r"layers\.(?P<layer>\d+)\.self_attn", "q_proj k_proj v_proj o_proj")
_VIT = _linear(
    r"encoder\.layer\.(?P<layer>\d+)\.attention", "attention.query attention.key attention.value output.dense"
)
_Q_TO_OUT = "q_proj k_proj v_proj out_proj"
_TEXT = _linear(
    r"text_model\.encoder\.layers\.(?P<layer>\d+)\.self_attn", _Q_TO_OUT, stack="text", section=("text_config",)
)
_VISION = _linear(
    r"vision_model\.encoder\.layers\.(?P<layer>\d+)\.self_attn", _Q_TO_OUT, stack="vision", section=("vision_config",)
)
_T5 = {"num_heads": ("num_heads",), "num_kv_heads": (), "key_dim": ("d_kv",)}
_WHISPER_ENCODER = {"stack": "encoder", "num_heads": ("encoder_attention_heads",), "num_kv_heads": ()}
_WHISPER_DECODER = {"stack": "decoder", "num_heads": ("decoder_attention_heads",), "num_kv_heads": ()}
#: Config keys of the older decoders, and their newer names.
_N_HEAD = {"num_heads": ("n_head", "num_attention_heads"), "num_kv_heads": ()}
_INTERLEAVED = {"fused": "query_key_value.weight", "output": "dense.weight", "order": "interleaved"}
_SHAPES_TELL = {"num_heads": (), "num_kv_heads": (), "key_dim": ()}
_BERT = "self.query self.key self.value output.dense"


def _keras(query: str, output: str, suffix: str, **other) -> Tower:
    """Keras' attention: layers by any name; `query` stands for key and value, too."""
    names = {role: f"{query.replace('query', role)}{suffix}" for role in ("query", "key", "value")}
    return Tower(**{"site": r".+", "stored": "heads", **names, "output": f"{output}{suffix}", **_SHAPES_TELL, **other})


FAMILIES: tuple[Family, ...] = (
    Family(
        name="GPT-2",
        model_types=("gpt2",),
        towers=(
            Tower(
                site=r"h\.(?P<layer>\d+)\.attn",
                fused="c_attn.weight",
                output="c_proj.weight",
                stored="in_out",
                **_N_HEAD,
            ),
        ),
    ),
    Family(  # the same names, but Linear; its files come without a config.json
        name="nanoGPT",
        towers=(Tower(site=r"h\.(?P<layer>\d+)\.attn", fused="c_attn.weight", output="c_proj.weight", **_N_HEAD),),
    ),
    Family(
        name="GPT-J",
        model_types=("gptj",),
        towers=(_linear(r"h\.(?P<layer>\d+)\.attn", _Q_TO_OUT, **_N_HEAD),),
        facts=("rope",),
    ),
    Family(
        name="GPT-NeoX",
        model_types=("gpt_neox",),
        towers=(
            Tower(
                site=r"layers\.(?P<layer>\d+)\.attention",
                **_INTERLEAVED,
            ),
        ),
        facts=("rope",),
    ),
    Family(
        name="OPT",
        model_types=("opt",),
        towers=(_linear(r"decoder\.layers\.(?P<layer>\d+)\.self_attn", _Q_TO_OUT),),
    ),
    Family(
        name="BLOOM",
        model_types=("bloom",),
        towers=(
            Tower(
                site=r"h\.(?P<layer>\d+)\.self_attention",
                **_INTERLEAVED,
                **_N_HEAD,
            ),
        ),
        facts=("alibi",),
    ),
    Family(  # config `num_kv_heads` is not what the 7B has (`multi_query` overrules it), so shapes tell
        name="Falcon",
        model_types=("falcon", "RefinedWeb", "RefinedWebModel"),
        towers=(
            Tower(
                site=r"h\.(?P<layer>\d+)\.self_attention",
                **_INTERLEAVED,
                num_heads=("num_attention_heads", "n_head"),
                num_kv_heads=(),
                key_dim=(),
            ),
        ),
        facts=("rope",),  # config `alibi: true` says otherwise
    ),
    Family(name="LLaMA", model_types=("llama",), towers=(_LLAMA,), facts=("rope",)),
    Family(name="Mistral", model_types=("mistral", "mixtral", "ministral"), towers=(_LLAMA,), facts=("rope",)),
    Family(
        name="Qwen",
        model_types=("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"),
        towers=(_LLAMA,),
        facts=("rope",),
    ),
    Family(
        name="Gemma",
        model_types=("gemma", "gemma2", "gemma3_text", "gemma3"),
        towers=(_LLAMA.model_copy(update={"stack": "text", "section": ("text_config",)}), _VISION),
        facts=("rope",),
    ),
    Family(
        name="Phi",
        model_types=("phi",),
        towers=(_linear(r"layers\.(?P<layer>\d+)\.self_attn", "q_proj k_proj v_proj dense"),),
        facts=("rope",),
    ),
    Family(
        name="Phi-3",
        model_types=("phi3",),
        towers=(Tower(site=r"layers\.(?P<layer>\d+)\.self_attn", fused="qkv_proj.weight", output="o_proj.weight"),),
        facts=("rope",),
    ),
    Family(name="OLMo", model_types=("olmo", "olmo2", "olmo3", "olmoe"), towers=(_LLAMA,), facts=("rope",)),
    Family(name="StableLM", model_types=("stablelm", "stablelm_epoch"), towers=(_LLAMA,), facts=("rope",)),
    Family(
        name="T5",
        model_types=("t5", "mt5", "umt5"),
        towers=(
            _linear(r"encoder\.block\.(?P<layer>\d+)\.layer\.\d+\.SelfAttention", "q k v o", stack="encoder", **_T5),
            _linear(r"decoder\.block\.(?P<layer>\d+)\.layer\.\d+\.SelfAttention", "q k v o", stack="decoder", **_T5),
            _linear(r"decoder\.block\.(?P<layer>\d+)\.layer\.\d+\.EncDecAttention", "q k v o", stack="decoder", **_T5),
        ),
        facts=("relative bias",),
    ),
    Family(
        name="BERT",
        model_types=("bert", "roberta", "xlm-roberta", "camembert", "electra"),
        towers=(
            _linear(r"encoder\.layer\.(?P<layer>\d+)\.attention", _BERT, stack="all"),
            _linear(
                r"encoder\.layer\.(?P<layer>\d+)\.crossattention",
                _BERT,
                stack="all",
            ),
        ),
    ),
    Family(
        name="DistilBERT",
        model_types=("distilbert",),
        towers=(
            _linear(
                r"transformer\.layer\.(?P<layer>\d+)\.attention", "q_lin k_lin v_lin out_lin", num_heads=("n_heads",)
            ),
        ),
    ),
    Family(name="ViT", model_types=("vit", "vit_mae", "vit_msn"), towers=(_VIT,)),
    Family(name="DeiT", model_types=("deit",), towers=(_VIT,)),
    Family(name="DINOv2", model_types=("dinov2", "dinov2_with_registers"), towers=(_VIT,)),
    Family(
        name="timm ViT",  # also DINO's and DINOv2's own files
        towers=(Tower(site=r"blocks\.(?P<layer>\d+)\.attn", fused="qkv.weight", output="proj.weight"),),
    ),
    Family(name="CLIP", model_types=("clip", "clip_text_model", "clip_vision_model"), towers=(_TEXT, _VISION)),
    Family(
        name="SigLIP",
        model_types=("siglip", "siglip_text_model", "siglip_vision_model"),
        towers=(
            _TEXT,
            _VISION,
            Tower(  # torch.nn.MultiheadAttention
                site=r"vision_model\.head\.attention",
                stack="vision",
                fused="in_proj_weight",
                output="out_proj.weight",
                section=("vision_config",),
            ),
        ),
    ),
    Family(
        name="Whisper",
        model_types=("whisper",),
        towers=(
            _linear(r"encoder\.layers\.(?P<layer>\d+)\.self_attn", _Q_TO_OUT, **_WHISPER_ENCODER),
            _linear(r"decoder\.layers\.(?P<layer>\d+)\.self_attn", _Q_TO_OUT, **_WHISPER_DECODER),
            _linear(r"decoder\.layers\.(?P<layer>\d+)\.encoder_attn", _Q_TO_OUT, **_WHISPER_DECODER),
        ),
    ),
    Family(
        name="Rankscope",
        towers=(
            _keras("query_kernel", "output_kernel", ""),  # a resume state, by variable path
            Tower(  # a .keras or .weights.h5 file: variables in the order of their creation
                site=r".+",
                query="vars/0",
                key="vars/1",
                value="vars/2",
                output="vars/3",
                biases=("vars/4", "vars/5", "vars/6"),
                stored="heads",
                **_SHAPES_TELL,
            ),
        ),
    ),
    Family(
        name="Rankscope's linear network",
        towers=(
            Tower(site=r"(?:.*_)?factor_chain(?:_\d+)?", chain="vars/"),
            Tower(site=r"factors(?:_\d+)?|factor_chain(?:_\d+)?", chain="kernel_"),
        ),
    ),
    Family(
        name="Keras",  # keras.layers.MultiHeadAttention, GroupQueryAttention, and most of KerasHub
        towers=(
            _keras("query_dense", "output_dense", "/vars/0"),
            _keras("_query_dense", "_output_dense", "/vars/0"),
            _keras("query", "attention_output", "/kernel"),
            _keras("query_dense", "output_dense", "/kernel"),
        ),
    ),
    Family(
        name="KerasHub Gemma",
        towers=(
            _keras("query_dense", "output_dense", "/vars/0", stored="heads_first"),
            _keras("query", "attention_output", "/kernel", stored="heads_first"),
        ),
        facts=("rope",),
    ),
    Family(
        name="KerasHub GPT-NeoX",
        towers=(
            Tower(
                site=r".+",
                fused="_qkv_dense/vars/0",
                output="_output_dense/vars/0",
                order="interleaved",
                stored="heads",
                **_SHAPES_TELL,
            ),
        ),
        facts=("rope",),
    ),
)
