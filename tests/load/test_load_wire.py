"""Where a load run's target is, and that nobody is there."""

from __future__ import annotations

import pytest

from load.wire import Address
from streamgauge.framing import NoConnection


def test_an_address_is_taken_apart() -> None:
    address = Address.of("http://127.0.0.1:8000/api/")
    assert (address.host, address.port, address.path) == ("127.0.0.1", 8000, "/api")
    with pytest.raises(ValueError, match="http://"):
        Address.of("127.0.0.1:8000")


def test_nobody_there_is_said() -> None:
    with pytest.raises(NoConnection, match=r"no connection to 127\.0\.0\.1:1"):
        Address.of("http://127.0.0.1:1").connect()
