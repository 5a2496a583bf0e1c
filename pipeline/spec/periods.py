"""Periods: the days on which a label is true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from ..errors import DataError
from .recipe import FIRST_S2_DAY


@dataclass(frozen=True, order=True)
class Period:
    """From one day to another, both inclusive; often a single day.

    Raises:
        DataError: it ends before it begins, or before the first Sentinel-2 image.
    """

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise DataError(f"the period {self.first}/{self.last} ends before it begins")
        if self.last < FIRST_S2_DAY:
            raise DataError(f"the date {self} lies before the first Sentinel-2 image ({FIRST_S2_DAY})")

    def __str__(self) -> str:
        """``2022-01-01/2022-12-31`` (ISO 8601), or ``2022-06-15`` for a single day."""
        return str(self.first) if self.first == self.last else f"{self.first}/{self.last}"

    @classmethod
    def of(cls, text: str) -> Period:
        """The period that ``str`` gives.

        Raises:
            DataError: the text is none.
        """
        first, _, last = text.partition("/")
        try:
            days = date.fromisoformat(first), date.fromisoformat(last or first)
        except ValueError:
            raise DataError(f"{text!r} is no period; write a day, or <first day>/<last day>") from None
        return cls(*days)

    @property
    def text(self) -> str:
        """As the manifest keeps it beside a day: empty for that day alone."""
        return "" if self.first == self.last else str(self)

    @property
    def middle(self) -> date:
        return self.first + (self.last - self.first) / 2

    def shares_a_day(self, other: Period) -> bool:
        return self.first <= other.last and other.first <= self.last

    def widened(self, days: int) -> Period:
        """With so many days more before and after it."""
        more = timedelta(days=days)
        return Period(self.first - more, self.last + more)

    def days_away(self, day: date) -> int:
        """Days from a day to the period; 0 within it."""
        return max((self.first - day).days, (day - self.last).days, 0)
