"""Listeners of others in the same network namespace: what they drop is no loss of those traced."""

from __future__ import annotations

from accepttrace.model.losses import verdict
from tests.kernel.clients import Clients, address_of, listen, port_of
from tests.kernel.conftest import Tracing, wait_until
from tests.kernel.network import counted, own_network
from tests.kernel.reading import begin, settled

MANY = 20


def test_a_stranger_that_drops_what_it_can_makes_no_loss_of_ours(tracing: Tracing) -> None:
    """The counters of the namespace grow; the listener of ours dropped nothing."""
    with own_network(), listen(9) as ours, listen(0) as strangers:
        account = begin(tracing, port_of(ours))
        with (
            Clients(address_of("ipv4", port_of(ours)), 3),
            Clients(address_of("ipv4", port_of(strangers)), MANY, wait=False),
        ):
            wait_until(lambda: counted()["ListenOverflows"] >= MANY - 1, "dropped SYNs")
            snapshot = settled(account)
    (row,) = snapshot.listeners
    assert (row.dropped_overflow, row.dropped_syn_queue, row.dropped_other, row.drops) == (0,) * 4
    assert snapshot.namespace_losses == ()
    assert verdict(snapshot) == "nothing"
