# Tests of Perl's DBD::Pg. Says one line for each case; see tests/lib/tap.py. The server comes in PGHOST, PGPORT, ….
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:pg_types :async);

binmode STDOUT, ':utf8';
my $tables  = 0;
my $ENDLESS = 'WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT count(*) FROM s';
my $failed  = 0;

sub table   { return "perl_" . $tables++; }
sub connect_db { return DBI->connect('dbi:Pg:', '', '', { RaiseError => 1, PrintError => 0, AutoCommit => 1, @_ }); }

sub check {
    my ($got, $expected) = @_;
    $got      //= 'undef';
    $expected //= 'undef';
    die "expected $expected, got $got\n" if $got ne $expected;
}

sub state_of {
    my ($dbh, $run) = @_;
    eval { $run->(); 1 } and die "no error\n";
    return $dbh->state;
}

sub test {
    my ($name, $run) = @_;
    if (eval { local $SIG{ALRM} = sub { die "took more than 20 s\n" }; alarm 20; $run->(); alarm 0; 1 }) {
        print "ok $name\n";
    }
    else {
        alarm 0;
        $failed++;
        my $why = $@;
        $why =~ s/\s+/ /g;
        print "not ok $name - $why\n";
    }
}

test('types' => sub {
    my $dbh = connect_db();
    my $t   = table();
    $dbh->do("CREATE TABLE $t(i INTEGER, b BOOLEAN, r REAL, s TEXT, x BLOB, n NUMERIC)");
    my $blob = join '', map { chr } 0 .. 255;
    my $sth  = $dbh->prepare("INSERT INTO $t VALUES (?, ?, ?, ?, ?, ?)");
    $sth->bind_param(5, undef, { pg_type => PG_BYTEA });
    check($sth->execute('9223372036854775807', 1, 0.5, 'größer ☃', $blob, '12.5'), 1);
    check($sth->execute((undef) x 6), 1);
    my $rows = $dbh->selectall_arrayref("SELECT i, b, r, s, x, n FROM $t");
    check($rows->[0][0], '9223372036854775807');
    check($rows->[0][1], 1);
    check($rows->[0][2], 0.5);
    check($rows->[0][3], 'größer ☃');
    check($rows->[0][4], $blob);
    check($rows->[0][5], '12.5');
    check(scalar(grep { defined } @{ $rows->[1] }), 0);
    $dbh->disconnect;
});

test('prepared statements' => sub {
    my $dbh = connect_db();
    my $t   = table();
    $dbh->do("CREATE TABLE $t(a INTEGER)");
    my $insert = $dbh->prepare("INSERT INTO $t(a) VALUES (\$1)");
    $insert->execute($_) for 1 .. 50;
    my $select = $dbh->prepare("SELECT sum(a) FROM $t WHERE a <= ?");
    for my $n (10, 50) {
        $select->execute($n);
        check($select->fetchrow_arrayref->[0], $n * ($n + 1) / 2);
    }
    check($insert->rows, 1);
    $select->finish;
    $dbh->disconnect;
});

test('transactions' => sub {
    my $dbh = connect_db(AutoCommit => 0);
    my $t   = table();
    $dbh->do("CREATE TABLE $t(a INTEGER)");
    $dbh->commit;
    $dbh->do("INSERT INTO $t VALUES (1)");
    $dbh->rollback;
    $dbh->do("INSERT INTO $t VALUES (2)");
    $dbh->pg_savepoint('s');
    $dbh->do("INSERT INTO $t VALUES (3)");
    $dbh->pg_rollback_to('s');
    $dbh->commit;
    check(join(',', @{ $dbh->selectcol_arrayref("SELECT a FROM $t") }), '2');
    $dbh->rollback;
    $dbh->disconnect;
});

test('errors and recovery' => sub {
    my $dbh = connect_db();
    my $t   = table();
    $dbh->do("CREATE TABLE $t(a INTEGER PRIMARY KEY)");
    $dbh->do("INSERT INTO $t VALUES (1)");
    check(state_of($dbh, sub { $dbh->do('SELECT absent') }),              '42703');
    check(state_of($dbh, sub { $dbh->do('SELEC') }),                       '42601');
    check(state_of($dbh, sub { $dbh->do('SELECT * FROM nowhere') }),       '42P01');
    check(state_of($dbh, sub { $dbh->do("INSERT INTO $t VALUES (1)") }),   '23505');
    check(state_of($dbh, sub { $dbh->do('SELECT absent, ?', undef, 1) }), '42703');
    check($dbh->selectrow_array('SELECT 1'), 1);
    check($dbh->ping ? 1 : 0, 1);
    $dbh->disconnect;
});

test('copy' => sub {
    my $dbh = connect_db();
    my $t   = table();
    $dbh->do("CREATE TABLE $t(a INTEGER, b TEXT)");
    $dbh->do("COPY $t FROM STDIN");
    $dbh->pg_putcopydata("$_\trow $_\n") for 1 .. 1000;
    $dbh->pg_putcopyend;
    $dbh->do("COPY (SELECT a, b FROM $t WHERE a <= 2) TO STDOUT");
    my ($all, $line) = ('', '');
    $all .= $line while $dbh->pg_getcopydata($line) >= 0;
    check($all, "1\trow 1\n2\trow 2\n");
    check($dbh->selectrow_array("SELECT count(*) FROM $t"), 1000);
    $dbh->disconnect;
});

test('notifications' => sub {
    my ($dbh, $other) = (connect_db(), connect_db());
    $dbh->do('LISTEN perl_news');
    $other->do("NOTIFY perl_news, 'hello'");
    my $got;
    until ($got = $dbh->pg_notifies) {
        my $bits = '';
        vec($bits, $dbh->{pg_socket}, 1) = 1;
        select($bits, undef, undef, 10) or die "nothing came\n";
    }
    check($got->[0], 'perl_news');
    check($got->[2], 'hello');
    $_->disconnect for $dbh, $other;
});

test('asynchronous query and cancel' => sub {
    my $dbh = connect_db();
    $dbh->do($ENDLESS, { pg_async => PG_ASYNC });
    check($dbh->pg_ready ? 1 : 0, 0);
    # A cancel request that comes before the statement has begun is lost, and pg_cancel would wait for ever.
    my $other = connect_db();
    until (grep { $_->[0] == $dbh->{pg_pid} and grep { ($_ // '') eq 'active' } @$_ }
               @{ $other->selectall_arrayref('SHOW connections') }) { }
    $dbh->pg_cancel;
    check($dbh->selectrow_array('SELECT 1'), 1);
    $_->disconnect for $dbh, $other;
});

test('fetching and names' => sub {
    my $dbh = connect_db();
    my $sth = $dbh->prepare("SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y'");
    $sth->execute;
    check(join(',', @{ $sth->{NAME} }), 'a,b');
    check($sth->fetchrow_hashref->{b}, 'x');
    check($sth->fetchrow_hashref->{a}, 2);
    check($sth->fetchrow_hashref, undef);
    $dbh->disconnect;
});

test('large blob' => sub {
    my $dbh = connect_db();
    my $t   = table();
    $dbh->do("CREATE TABLE $t(x BLOB)");
    my $blob = "\x00\xff\x5a" x (1 << 20);
    my $sth  = $dbh->prepare("INSERT INTO $t VALUES (?)");
    $sth->bind_param(1, $blob, { pg_type => PG_BYTEA });
    $sth->execute;
    my ($got) = $dbh->selectrow_array("SELECT x FROM $t");
    die "the blob changed\n" if $got ne $blob;
    $dbh->disconnect;
});

exit($failed ? 1 : 0);
