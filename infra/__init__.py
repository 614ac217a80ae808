"""Whom Pinglet calls and what it stands on. Imports core, never handlers."""
