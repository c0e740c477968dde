"""Claims of a paper held against measurements: each ends in a verdict, and each verdict can be redone by hand."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

HOLDS, CORRECTED, FAILS, DID_NOT_RUN = "holds", "holds with a correction", "fails", "did not run"
Verdict = Literal["holds", "holds with a correction", "fails", "did not run"]
Relation = Literal["=", "≤", "≥"]


@dataclass(frozen=True)
class Case:
    """One number that was predicted, and measured.

    Args:
        name: what distinguishes it, such as `l2=0.4 seed=0`.
        predicted: by the paper, as it is printed there.
        measured: by us.
        tolerance: allowed distance, ≥ 0, in the units of the number.
        corrected: the prediction with the paper's misprint or gap mended; None where there is nothing to mend.
    """

    name: str
    predicted: float
    measured: float
    tolerance: float
    corrected: float | None = None


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, the cases that test it, and what comes out.

    Args:
        id: short and stable, such as `figure-1.shrinkage`.
        source: where the paper says it, such as `section 3.4, eq. 18`.
        statement: what it says, in one sentence.
        cases: the tests; with none of them the verdict is `did not run`.
        relation: of measured to predicted: equal within the tolerance, at most, or at least (each but for it).
        correction: in words, what `Case.corrected` mends; needed where a case has one.
        expected: the verdict that we expect and have explained, where there are cases; settings that give a claim no
            case (no λ above 0, too few steps) make it one that is expected not to run. A run that failed is a case,
            whose measured number is NaN. None where nothing is known beforehand, as of a user's own checkpoints.
        remark: in words, what a reader should know beside the numbers, such as why a claim fails.

    Example:
        |0.61 − 0.6| is within 0.02; what the misprint says, 0.8, is not.

        >>> claim = Claim("shrinkage", "eq. 18", "s − λ remains", [Case("s=1, λ=0.4", 0.8, 0.61, 0.02, corrected=0.6)],
        ...     correction="λ for λ/2")
        >>> claim.verdict
        'holds with a correction'
    """

    id: str
    source: str
    statement: str
    cases: Sequence[Case] = field(repr=False)
    relation: Relation = "="
    correction: str = ""
    expected: Verdict | None = HOLDS
    remark: str = ""

    @property
    def verdict(self) -> Verdict:
        """`holds` if every case does as printed, `holds with a correction` if every case does as corrected."""
        if not self.cases:
            return DID_NOT_RUN
        if all(self._excess(case, case.predicted) <= 0 for case in self.cases):
            return HOLDS
        if self.correction and all(self._excess(case, self._mended(case)) <= 0 for case in self.cases):
            return CORRECTED
        return FAILS

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one that we have explained, or none was expected."""
        return self.expectation in (None, self.verdict)

    @property
    def expectation(self) -> Verdict | None:
        """`expected`, or `did not run` without a case."""
        return self.expected if self.cases else DID_NOT_RUN

    @property
    def worst(self) -> Case | None:
        """The case that decides: the one furthest outside its tolerance, or nearest to leaving it.

        Of a claim that holds with a correction, the one that refutes the printed form the most.
        """
        mended = self.verdict == FAILS and bool(self.correction)
        return max(
            self.cases,
            key=lambda case: self._margin(case, self._mended(case) if mended else case.predicted),
            default=None,
        )

    def within(self, case: Case) -> bool:
        """Whether a case holds, as corrected where the claim is."""
        return self._excess(case, self._mended(case) if self.correction else case.predicted) <= 0

    def entry(self) -> dict[str, Any]:
        """The claim's entry in `verdict.json`; predicted, measured and tolerance are those of its deciding case."""
        worst = self.worst
        return {
            "id": self.id,
            "source": self.source,
            "statement": self.statement,
            "predicted": None if worst is None else _number(worst.predicted),
            "measured": None if worst is None else _number(worst.measured),
            "tolerance": None if worst is None else _number(worst.tolerance),
            "verdict": self.verdict,
            "expected": self.expectation,
            "relation": self.relation,
            "corrected": None if worst is None or worst.corrected is None else _number(worst.corrected),
            "correction": self.correction or None,
            "case": None if worst is None else worst.name,
            "cases": len(self.cases),
            "remark": self.remark or None,
        }

    def rows(self) -> Iterable[dict[str, Any]]:
        """One row a case, for `records.csv`."""
        for case in self.cases:
            yield {
                "claim": self.id,
                "case": case.name,
                "measured": float(case.measured),
                "relation": self.relation,
                "predicted": float(case.predicted),
                "corrected": "" if case.corrected is None else float(case.corrected),
                "tolerance": float(case.tolerance),
                "holds": self.within(case),
            }

    @staticmethod
    def _mended(case):
        return case.predicted if case.corrected is None else case.corrected

    def _excess(self, case, prediction):
        """How far a case is outside of its tolerance; a number that is not finite is infinitely far."""
        distance = case.measured - prediction
        distance = {"=": abs(distance), "≤": distance, "≥": -distance}[self.relation]
        return distance - case.tolerance if math.isfinite(distance) else math.inf

    def _margin(self, case, prediction):
        """The excess in units of what is allowed, to compare cases of different sizes."""
        scale = abs(case.tolerance) or abs(prediction) or 1.0  # a negative tolerance asks for more than equality
        return self._excess(case, prediction) / scale


RECORD_COLUMNS = ("claim", "case", "measured", "relation", "predicted", "corrected", "tolerance", "holds")
_COLOUR = {HOLDS: "green", CORRECTED: "cyan", FAILS: "red", DID_NOT_RUN: "yellow"}


def print_claims(claims: Sequence[Claim]) -> None:
    """Print the table of verdicts, and a line for each that is not the expected one."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log has no width of its own
    table = Table(
        caption="predicted and measured: of the deciding case; records.csv has them all", caption_justify="left"
    )
    for column in ("claim", "predicted", "measured", "tolerance", "verdict"):
        number = column in ("predicted", "measured", "tolerance")
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for claim in claims:
        worst = claim.worst
        numbers = (
            ["–"] * 3 if worst is None else [f"{n:.4g}" for n in (worst.predicted, worst.measured, worst.tolerance)]
        )
        if worst is not None and claim.relation != "=":
            numbers[0] = f"{claim.relation} {numbers[0]}"
        verdict = claim.verdict if claim.as_expected else f"{claim.verdict} (expected: {claim.expectation})"
        table.add_row(escape(claim.id), *numbers, f"[{_COLOUR[claim.verdict]}]{verdict}[/]")
    console.print(table)
    for claim in claims:
        if claim.verdict != HOLDS:
            why = "; ".join(text for text in (claim.correction, claim.remark) if text)
            console.print(f"{claim.id}: {claim.statement} [{claim.verdict}] {why}", markup=False, soft_wrap=True)


def _number(value):
    """JSON has no infinity and no NaN."""
    value = float(value)
    return value if math.isfinite(value) else str(value)
