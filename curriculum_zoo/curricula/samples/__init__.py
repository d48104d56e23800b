"""Which images an epoch sees: rules, what is measured of an image, and files of such scores."""
