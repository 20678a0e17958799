"""The latent model: symbols, filter and corrections of one image under a shipped prior."""
