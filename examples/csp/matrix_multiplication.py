"""Matrices multiplied by a systolic array (Kung and Leiserson, 1978): numbers flow through a grid of cells.

              column 0   column 1
                 |          |
    row 0 -->  cell  -->  cell  --> sink        each multiplies what comes from the left by
                 |          |                   what comes from above, adds that to its own
    row 1 -->  cell  -->  cell  --> sink        sum, and passes both on
                 |          |
               sink       sink
"""

from interproc.csp import Channel, Parallel, Reader, Writer, parts, process

Matrix = list[list[float]]


@process
def cell(left: Reader[float], above: Reader[float], right: Writer[float], below: Writer[float]) -> float:
    total = 0.0
    for a, b in zip(left, above, strict=False):
        total += a * b
        right.send(a)
        below.send(b)
    return total


def multiply(a: Matrix, b: Matrix, kind: str = "process") -> Matrix:
    """The product of an n by m and an m by p matrix, by n * p cells."""
    rows, columns = a, list(zip(*b, strict=True))
    n, p = len(rows), len(columns)
    across = [[Channel[float](f"row {i}, {j}") for j in range(p + 1)] for i in range(n)]
    down = [[Channel[float](f"column {j}, {i}") for j in range(p)] for i in range(n + 1)]
    cells = [
        cell(across[i][j].reader(), down[i][j].reader(), across[i][j + 1].writer(), down[i + 1][j].writer())
        for i in range(n)
        for j in range(p)
    ]
    edges = [
        *(parts.source(row, across[i][0].writer()) for i, row in enumerate(rows)),
        *(parts.source(column, down[0][j].writer()) for j, column in enumerate(columns)),
        *(parts.sink(across[i][p].reader()) for i in range(n)),
        *(parts.sink(down[n][j].reader()) for j in range(p)),
    ]
    totals = Parallel([each.with_kind(kind) for each in cells + edges])
    return [totals[i * p : (i + 1) * p] for i in range(n)]


def main(kind: str = "process") -> Matrix:
    product = multiply([[1, 2, 3], [4, 5, 6]], [[7, 8], [9, 10], [11, 12]], kind)
    print(*product, sep="\n")
    return product


if __name__ == "__main__":
    main()
