"""What people look at: templates, styles and scripts by hand, without a build step."""
