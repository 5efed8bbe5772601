"""Listeners, acceptors, books and balance: no I/O, no clock, no BPF."""
