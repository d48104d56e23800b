"""Loading: from labelled images to batches on a device."""
