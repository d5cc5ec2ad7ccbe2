# /etc/profile has just set PATH to the system's own; without this a login shell would not find Jupyter.
export PATH="$HOME/.local/bin:$REPO_DIR/.local/bin:$NB_PYTHON_PREFIX/bin:$CONDA_DIR/bin:$NPM_DIR/bin:$PATH"
