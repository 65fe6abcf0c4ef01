"""The pages people see: sign-in, account, recovery; their scripts, which any page of an app may use as well."""
