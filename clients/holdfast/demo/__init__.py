"""``holdfast demo``: a season of real retail orders through a real server, killed in the middle.

The data are TPC-DS (Transaction Processing Performance Council, Decision Support benchmark), made
on the spot by DuckDB's tpcds extension; nobody here wrote them. The first carts are planned and
promised to their ZIP codes by their ship modes. Its catalogue and web orders arrive in their order
in time, as concurrent checkouts; its ship dates and returns drive what happens to them. The server
is a process of its own, killed with SIGKILL half-way.

One idea a file: `generate` makes the data, `dataset` reads them, `shop` says what happens to an
order, `checkout` does it, `delivery` plans and promises, `replay` runs them all, `book` notes every
acknowledgement, `ledger` is the independent recomputation, `audit` compares, `server` is the
process, `report` prints.
"""
