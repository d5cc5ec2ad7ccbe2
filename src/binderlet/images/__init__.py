"""Names of images, and which of them are here."""
