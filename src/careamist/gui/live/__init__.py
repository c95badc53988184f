"""What somebody looks at, restored while the training goes on."""
