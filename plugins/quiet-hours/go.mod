module rule

go 1.25
