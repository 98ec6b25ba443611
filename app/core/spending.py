"""What a remote generation counts for against a client's limit of a day."""

from __future__ import annotations

from dataclasses import dataclass

DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Charge:
    """One prediction at `price`, and what its client may have of both in a day (UTC); 0 means no limit. Prices and
    amounts are in one currency, whichever the settings use."""

    price: float
    most_predictions: int = 0
    most_amount: float = 0.0

    def problem(self, predictions: int, amount: float) -> str | None:
        """The limit that is exceeded when the client's day comes to these sums, this charge included; None if none."""
        if self.most_predictions and predictions > self.most_predictions:
            return f"{self.most_predictions} remote generations a day (SPEND_LIMIT_PREDICTIONS)"
        if self.most_amount and amount > self.most_amount + 1e-9:  # sums of decimals are not exact
            return f"{self.most_amount:g} a day for remote generations (SPEND_LIMIT_AMOUNT; this one: {self.price:g})"
        return None
