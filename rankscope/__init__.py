"""Rankscope: what weight decay and other regularisers do to the rank of attention.

What a user needs stands here and is imported when it is first asked for, so that `import rankscope` takes no time and
no backend. ARCHITECTURE.md shows what lies behind it.
"""
