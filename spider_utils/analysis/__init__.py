"""What fails and why: tables of the errors on slices of unseen patients."""
