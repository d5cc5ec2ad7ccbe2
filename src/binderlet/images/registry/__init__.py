"""The second tier of images: a registry on object storage, or one that exists already, and those of peers."""
