"""An experiment: noise in place of the fine detail that quantisation removed."""
