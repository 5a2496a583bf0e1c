"""Periods: the days on which a label is true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from ..errors import DataError


@dataclass(frozen=True)
class Period:
    """From one day to another, both inclusive."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise DataError(f"a period from {self.first} to {self.last} ends before it begins")

    def __str__(self) -> str:
        """``2022-01-01/2022-12-31``, as the manifest keeps it."""
        return f"{self.first}/{self.last}"

    @classmethod
    def of(cls, text: str) -> Period:
        """The period that ``str`` gives.

        Raises:
            DataError: the text is none.
        """
        try:
            first, last = map(date.fromisoformat, text.split("/"))
        except ValueError:
            raise DataError(f"{text!r} is no period; write <first day>/<last day>, as 2022-01-01/2022-12-31") from None
        return cls(first, last)

    @property
    def middle(self) -> date:
        return self.first + (self.last - self.first) / 2

    def widened(self, days: int) -> Period:
        """With so many days more before and after it."""
        more = timedelta(days=days)
        return Period(self.first - more, self.last + more)

    def days_away(self, day: date) -> int:
        """Days from a day to the period; 0 within it."""
        return max((self.first - day).days, (day - self.last).days, 0)
