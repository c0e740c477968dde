"""GPT as nanoGPT describes it, in plain PyTorch: what benchmarks/gpt.py compares ours with."""

from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Causal attention with one projection for queries, keys and values, and a feed-forward."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        """Of x `(B, T, D)`."""
        joined = self.query_key_value(self.attention_norm(x)).chunk(3, dim=-1)
        heads = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in joined)  # 3 of (B, H, T, K)
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).flatten(2))
        return x + self.down(functional.relu(self.up(self.mlp_norm(x))))


class PlainGPT(nn.Module):
    """A model with the parameters of `zoo.GPT`; its table of tokens makes the logits, too."""

    def __init__(self, vocabulary, width, layers, heads, length):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.dropout = nn.Dropout(0.1)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.02 if parameter.ndim > 1 else 0.0)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
        self.head.weight = self.tokens.weight

    def forward(self, tokens, following):
        """The loss of tokens `(B, T)` and those that follow them."""
        x = self.dropout(self.tokens(tokens) + self.positions.weight)
        logits = self.head(self.projection(self.norm(self.blocks(x))))  # (B, T, V)
        return functional.cross_entropy(logits.flatten(0, 1), following.flatten())


def decay_groups(model, decay):
    """Groups of torch's optimizer: matrices decay but those of attention; biases and gains do not."""
    groups = {True: [], False: []}
    for name, parameter in model.named_parameters():
        attention = "query_key_value" in name or "output" in name
        groups[parameter.ndim > 1 and not attention].append(parameter)
    return [{"params": found, "weight_decay": decay if decays else 0.0} for decays, found in groups.items()]
