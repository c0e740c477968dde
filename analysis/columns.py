"""Columns of what is measured of factor pairs, in order; one row a head and pair."""

from rankscope.factors import QUANTITIES, columns_of

#: Quantities that have a column `<name>_null` beside them.
NULLED = tuple(name for name, quantity in QUANTITIES.items() if quantity.expected is not None)
#: What is measured of each head.
MEASURED = tuple(columns_of(checkpoint=True))
#: Of any factor pairs, as in `ranks.csv`.
PAIR_COLUMNS = ("pair", "layer", "path", "head", "hidden_dim", "key_dim", *MEASURED)
#: Of a checkpoint, whose layers may be of several towers.
COLUMNS = ("pair", "tower", "path", "layer", "head", "hidden_dim", "key_dim", *MEASURED)
