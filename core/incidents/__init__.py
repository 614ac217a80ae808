"""When bad is bad enough: rules, the judge, incidents."""
