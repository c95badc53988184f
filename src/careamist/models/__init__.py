"""Networks: `network` is the order form, `unet` the network itself (it needs torch)."""
