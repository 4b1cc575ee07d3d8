#!/bin/sh
# programs.sh NAME prepare|work PERMILLE: Debian's programs at work of a fixed amount, in the guest and, in the same tree by
# chroot, on the host. What `work` prints is what the runner compares. /bench/text and /bench/work.py come with the image.
set -eu
name=$1 step=$2 permille=$3
export LC_ALL=C PATH=/usr/bin:/bin PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp TMPDIR=/tmp
input=/tmp/bench.input

# The part of an amount that the scale asks for, at least one.
part() {
    amount=$(($1 * permille / 1000))
    echo $((amount > 0 ? amount : 1))
}

# Text of as many bytes, from the image's.
text() {
    head -c "$(part "$1")" /bench/text >$input
}

count_in_shell() {
    total=0 i=0
    while [ $i -lt "$1" ]; do
        case $((i % 7)) in
            0 | 3) total=$((total + i * 3)) ;;
            5) total=$((total ^ 21)) word=${total#?} ;;
            *) word=$total.$i total=$((total - ${#word})) ;;
        esac
        i=$((i + 1))
    done
    echo "$total"
}

# Forks in every way that scripts do: substitution, subshell, pipe, programs.
fork_in_shell() {
    i=0
    while [ $i -lt "$1" ]; do
        name=$(echo "file$i.c")
        (
            base=$(basename "$name" .c)
            echo "$base $i" | tr a-z A-Z
        )
        expr $i % 7 >/tmp/bench.rest || true
        read -r rest </tmp/bench.rest
        echo "$rest"
        i=$((i + 1))
    done
}

case $name.$step in
    gzip.prepare) text 6000000 ;;
    gzip.work) gzip -6 -n -c <$input >/tmp/bench.gz && gzip -dc </tmp/bench.gz | cmp - $input && cat /tmp/bench.gz ;;
    bzip2.prepare) text 2000000 ;;
    bzip2.work) bzip2 -c <$input >/tmp/bench.bz2 && bzip2 -dc </tmp/bench.bz2 | cmp - $input && cat /tmp/bench.bz2 ;;
    xz.prepare) text 600000 ;;
    xz.work) xz -6 -T1 -c <$input >/tmp/bench.xz && xz -dc </tmp/bench.xz | cmp - $input && cat /tmp/bench.xz ;;
    sha256sum.prepare) text 8000000 ;;
    sha256sum.work) cat $input $input $input $input | sha256sum ;;
    sort_lines.prepare) text 2000000 && tr ' ' '\n' <$input >$input.lines ;;
    sort_lines.work) sort -S 64M --parallel=1 <$input.lines | uniq -c | sort -k1,1nr -k2 ;;
    awk.prepare) text 2500000 ;;
    awk.work)
        awk '{ for (i = 1; i <= NF; i++) { count[$i]++; if ($i ~ /^[0-9]+$/) sum += $i; else letters += length($i) } }
            /qui.*mor/ { gsub(/ka/, "KA"); changed += length($0) }
            END { for (word in count) if (count[word] > most) most = count[word]; print NR, sum, letters, changed, most }' <$input
        ;;
    grep.prepare) text 8000000 ;;
    grep.work)
        grep -c 'terqui' $input
        grep -cE '(ka|lo)(mi|ter)+ [0-9]{3}' $input
        grep -ciE 'STAMI|plisan' $input
        grep -o '[a-z]*quiqui[a-z]*' $input | sort -u
        ;;
    shell_loops.prepare | shell_forks.prepare) : ;;
    shell_loops.work) count_in_shell "$(part 200000)" ;;
    shell_forks.work) fork_in_shell "$(part 80)" ;;
    openssl.prepare) text 4000000 ;;
    openssl.work)
        openssl dgst -sha512 <$input
        openssl dgst -sha1 <$input
        openssl enc -aes-256-cbc -K 0123456789abcdef -iv 01 -in $input 2>/tmp/bench.error | openssl dgst -md5
        openssl enc -chacha20 -K 0123456789abcdef -iv 01 -in $input 2>/tmp/bench.error | openssl dgst -sha256
        openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt pass:calque -kdfopt salt:paper -kdfopt iter:"$(part 20000)" PBKDF2
        # The prime 2^2203 - 1.
        openssl prime -checks "$(part 8)" -hex 7"$(printf 'FFFFFFFFFF%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 \
            23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55)"
        ;;
    python3.prepare) text 400000 ;;
    python3.work) python3 -S -E /bench/work.py $input "$permille" ;;
    gcc.prepare) bench --csource "$(part 5000)" >/tmp/bench.c ;;
    gcc.work) gcc -O2 -S -o - /tmp/bench.c ;;
    *)
        echo "programs.sh: no program or step is called $name $step" >&2
        exit 2
        ;;
esac
