"""Pictures by matplotlib, each drawn in one place for studies, pages, dashboards and notebooks."""
