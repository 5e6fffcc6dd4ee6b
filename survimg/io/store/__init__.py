"""The prepared cohort's folder."""
