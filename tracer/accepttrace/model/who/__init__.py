"""Who shares a port, how, and what is wrong with it: from the inventory alone."""
