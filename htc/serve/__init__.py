"""An HTTP service that detects objects in pictures: python -m htc.serve (pip install ".[serve]")."""
