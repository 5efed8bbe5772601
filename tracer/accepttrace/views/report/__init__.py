"""A recorded run on one page: what is drawn, and the page around it."""
