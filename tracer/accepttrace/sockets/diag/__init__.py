"""What the kernel says of sockets: sock_diag by netlink, tables of /proc/net, namespaces."""
