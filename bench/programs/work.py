"""work.py TEXT PERMILLE: what Python programs do: words and dictionaries, objects that call each other, generators, big
integers, regular expressions, JSON. Prints results that are the same everywhere."""

import heapq
import json
import re
import sys


def part(amount: int) -> int:
    return max(1, amount * int(sys.argv[2]) // 1000)


def words(text: str) -> list:
    counts, follows = {}, {}
    previous = ""
    for word in text.split():
        counts[word] = counts.get(word, 0) + 1
        follows.setdefault(previous, set()).add(word)
        previous = word
    common = sorted(counts, key=lambda word: (-counts[word], word))[:20]
    return [(word, counts[word], len(follows[word])) for word in common]


class Account:
    def __init__(self, number: int):
        self.number, self.balance, self.moves = number, 1000, []

    def pay(self, other: "Account", amount: int) -> bool:
        if amount > self.balance:
            return False
        self.balance -= amount
        other.receive(self, amount)
        return True

    def receive(self, source: "Account", amount: int):
        self.balance += amount
        self.moves.append((source.number, amount))


class Bank:
    """Payments in the order of their times, from a heap; each makes the next."""

    def __init__(self, size: int):
        self.accounts = [Account(number) for number in range(size)]
        self.queue = [(number * 7 % 13, number) for number in range(size)]
        heapq.heapify(self.queue)
        self.refused = 0

    def run(self, steps: int):
        seed = 1
        for _ in range(steps):
            when, number = heapq.heappop(self.queue)
            seed = (seed * 1103515245 + 12345) % 2**31
            other = self.accounts[seed % len(self.accounts)]
            if not self.accounts[number].pay(other, seed >> 16 & 255):
                self.refused += 1
            heapq.heappush(self.queue, (when + 1 + (seed >> 8) % 17, number))


def queens(size: int, row=0, columns=0, left=0, right=0):
    if row == size:
        yield 1
        return
    for column in range(size):
        bits = 1 << column, 1 << (row + column), 1 << (row - column + size)
        if not (columns & bits[0] or left & bits[1] or right & bits[2]):
            yield from queens(size, row + 1, columns | bits[0], left | bits[1], right | bits[2])


def digits_of_e(count: int) -> str:
    total = term = 10 ** (count + 10)
    divisor = 1
    while term:
        term //= divisor
        total += term
        divisor += 1
    return str(total // 10**10)


def main():
    with open(sys.argv[1], encoding="ascii") as file:
        text = file.read()
    print(words(text))
    print(len(re.findall(r"\b(\w*qui\w*) (\w+ter)\b", text)), len(re.sub(r"([aeiou])\1*", "<\\1>", text)))
    bank = Bank(64)
    bank.run(part(40000))
    print(bank.refused, sum(account.balance * account.number for account in bank.accounts))
    print(sum(queens(6 if part(1000) < 500 else 7)))
    print(digits_of_e(part(3000))[-20:])
    table = [{"number": i, "name": f"row {i}", "values": [i / 8, -i, None, i % 3 == 0]} for i in range(part(4000))]
    again = json.loads(json.dumps(table))
    print(again == table, len(json.dumps(again, indent=1, sort_keys=True)))


main()
