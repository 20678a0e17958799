"""Training of the prior and of generative models. Neither encoder nor decoder needs it."""
