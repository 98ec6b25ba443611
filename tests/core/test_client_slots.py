"""Places that clients take, one each."""

from __future__ import annotations

import pytest

from app.core.client_slots import ClientSlots
from app.errors import Unavailable


def taking(slots: ClientSlots, client: str):
    return slots.taking(client, timeout=0.01, refusal="Later.")


def test_a_client_has_one_place_and_leaves_the_others():
    slots = ClientSlots(2)
    with taking(slots, "alice"):
        with pytest.raises(Unavailable, match="Later"), taking(slots, "alice"):
            pass
        with taking(slots, "bob"), pytest.raises(Unavailable), taking(slots, "carol"):
            pass
        with taking(slots, "carol"):
            pass
    with taking(slots, "alice"):
        pass
