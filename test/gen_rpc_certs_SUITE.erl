%% SPDX-License-Identifier: Apache-2.0
%% examples/make-certs does what its usage says: makes, adds, keeps, renews, revokes, refuses. What
%% openssl reads in the files is the judge.
-module(gen_rpc_certs_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").
-include_lib("kernel/include/file.hrl").

-export([suite/0, all/0, init_per_testcase/2]).
-export([makes_what_nodes_need/1, authority_signs_only/1, keys_are_private/1, rsa_keys/1,
         adds_and_keeps/1, renews_with_the_same_key/1, days/1, long_names/1, every_name/1,
         directory_with_odd_characters/1]).
-export([revokes/1, revokes_all_of_a_node/1, revokes_and_replaces/1, nothing_to_revoke/1]).
-export([wrong_arguments/1, usage/1, key_of_authority_missing/1, of_another_authority/1,
         make_target/1]).

-import(gen_rpc_test_certs, [script/1, openssl/1]).

-define(NODE, "a@10.0.0.1").
-define(DAY, 86400).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [makes_what_nodes_need, authority_signs_only, keys_are_private, rsa_keys, adds_and_keeps,
     renews_with_the_same_key, days, long_names, every_name, directory_with_odd_characters,
     revokes, revokes_all_of_a_node, revokes_and_replaces, nothing_to_revoke,
     wrong_arguments, usage, key_of_authority_missing, of_another_authority, make_target].

init_per_testcase(Case, Config) ->
    Dir = filename:join([proplists:get_value(priv_dir, Config), Case, "certs"]),
    ok = filelib:ensure_dir(Dir),
    [{dir, Dir} | Config].

%%% What it makes

%% A node's certificate has its name, serves both sides of a connection, and can sign nothing.
makes_what_nodes_need(Config) ->
    Dir = made(Config, [?NODE]),
    Text = text(Dir, ?NODE ++ ".pem"),
    contains(Text, ["Subject: CN ?= ?" ++ ?NODE ++ "\n",
                    "Subject Alternative Name: \n +email:" ++ ?NODE ++ "\n",
                    "Basic Constraints: \n +CA:FALSE\n",
                    "Key Usage: critical\n +Digital Signature\n",
                    "TLS Web Server Authentication, TLS Web Client Authentication\n",
                    "NIST CURVE: P-256\n",
                    "Signature Algorithm: ecdsa-with-SHA256\n",
                    "Subject Key Identifier", "Authority Key Identifier"]),
    [?assertEqual({Purpose, ok}, {Purpose, verify(Dir, ?NODE, ["-purpose", Purpose])})
     || Purpose <- ["sslserver", "sslclient"]],
    contains(file(Dir, ?NODE ++ ".key"), ["^-----BEGIN PRIVATE KEY-----\n"]),
    contains(crl(Dir), ["No Revoked Certificates"]),
    ?assertEqual(ok, verify(Dir, ?NODE, ["-crl_check"])).

%% The authority's certificate is for signing, and for nothing else.
authority_signs_only(Config) ->
    Dir = made(Config, []),
    contains(text(Dir, "ca.pem"), ["Subject: CN ?= ?gen_rpc CA [0-9a-f]{8}\n",
                                   "Basic Constraints: critical\n +CA:TRUE\n",
                                   "Key Usage: critical\n +Certificate Sign, CRL Sign\n",
                                   "Subject Key Identifier", "Authority Key Identifier"]),
    about(3650 * ?DAY, valid_for(Dir, "ca.pem")),
    %% Two authorities have two names.
    Other = Dir ++ "2",
    {0, _} = script([Other]),
    ?assertNotEqual(field(Dir, "-subject"), field(Other, "-subject")).

%% Nobody but their owner can read the keys, nor anything else, whatever the umask was.
keys_are_private(Config) ->
    Dir = made(Config, [?NODE]),
    [begin
         {ok, #file_info{mode = Mode}} = file:read_file_info(filename:join(Dir, File)),
         ?assertEqual({File, 8#600}, {File, Mode band 8#777})
     end || File <- ["ca.key", "ca.pem", "crl.pem", ?NODE ++ ".key", ?NODE ++ ".pem"]],
    {ok, #file_info{mode = Mode}} = file:read_file_info(Dir),
    ?assertEqual(8#700, Mode band 8#777).

%% With --rsa the keys that are new are of 2048-bit RSA; those that are there stay what they are.
rsa_keys(Config) ->
    Dir = made(Config, ["--rsa", ?NODE]),
    contains(text(Dir, ?NODE ++ ".pem"), ["Public-Key: \\(2048 bit\\)", "sha256WithRSAEncryption",
                                          "Key Usage: critical\n +Digital Signature\n"]),
    contains(text(Dir, "ca.pem"), ["Public-Key: \\(2048 bit\\)"]),
    {0, _} = script([Dir, "b@h"]),
    contains(text(Dir, "b@h.pem"), ["NIST CURVE: P-256\n"]),
    contains(text(Dir, "ca.pem"), ["Public-Key: \\(2048 bit\\)"]),
    [?assertEqual(ok, verify(Dir, Node, [])) || Node <- [?NODE, "b@h"]].

%% Nodes can be added later: what is there is kept, to the byte, and the script says so.
adds_and_keeps(Config) ->
    Dir = made(Config, [?NODE]),
    Before = [file(Dir, File) || File <- ["ca.pem", "ca.key", ?NODE ++ ".pem", ?NODE ++ ".key"]],
    {0, Output} = script([Dir, ?NODE, "b@10.0.0.2", "b@10.0.0.2"]),
    contains(Output, ["/ca.pem: kept, valid until", "/a@10.0.0.1.pem: kept, valid until",
                      "/b@10.0.0.2.pem: made, valid until", "/b@10.0.0.2.pem: kept, valid until",
                      "/crl.pem: made, valid until"]),
    ?assertEqual(Before, [file(Dir, File) || File <- ["ca.pem", "ca.key", ?NODE ++ ".pem",
                                                      ?NODE ++ ".key"]]),
    [?assertEqual(ok, verify(Dir, Node, ["-crl_check"])) || Node <- [?NODE, "b@10.0.0.2"]].

%% A certificate that was removed is made again for the same key. A key that has moved to its node
%% is not missed while its certificate is there.
renews_with_the_same_key(Config) ->
    Dir = made(Config, [?NODE]),
    {Key, Serial, PublicKey} = {file(Dir, ?NODE ++ ".key"), field(Dir, ?NODE, "-serial"),
                                field(Dir, ?NODE, "-pubkey")},
    ok = file:delete(filename:join(Dir, ?NODE ++ ".pem")),
    {0, _} = script([Dir, ?NODE]),
    ?assertEqual({Key, PublicKey}, {file(Dir, ?NODE ++ ".key"), field(Dir, ?NODE, "-pubkey")}),
    ?assertNotEqual(Serial, field(Dir, ?NODE, "-serial")),
    ok = file:delete(filename:join(Dir, ?NODE ++ ".key")),
    {0, Output} = script([Dir, ?NODE]),
    contains(Output, ["/a@10.0.0.1.pem: kept"]),
    ?assertNot(filelib:is_file(filename:join(Dir, ?NODE ++ ".key"))).

%% --days is for nodes and the CRL; all is valid from a while ago, because clocks differ.
days(Config) ->
    Dir = made(Config, ["--days", "7", ?NODE]),
    about(7 * ?DAY, valid_for(Dir, ?NODE ++ ".pem")),
    about(7 * ?DAY, seconds_until(last_field(crl(Dir), "Next Update: (.*)"))),
    about(3650 * ?DAY, valid_for(Dir, "ca.pem")),
    {0, _} = script([Dir, "b@h"]),
    about(365 * ?DAY, valid_for(Dir, "b@h.pem")),
    [about(-3600, seconds_until(last_field(Text, Pattern)))
     || {Text, Pattern} <- [{text(Dir, "ca.pem"), "Not Before: (.*)"},
                            {text(Dir, ?NODE ++ ".pem"), "Not Before: (.*)"},
                            {crl(Dir), "Last Update: (.*)"}]].

%% A common name has at most 64 characters. A longer node name is in the alternative name alone.
long_names(Config) ->
    [Short, Longer, Longest] = Nodes = [lists:duplicate(N - 2, $n) ++ "@h" || N <- [64, 65, 250]],
    Dir = made(Config, Nodes),
    contains(text(Dir, Short ++ ".pem"), ["Subject: CN ?= ?" ++ Short ++ "\n",
                                          " email:" ++ Short ++ "\n"]),
    [begin
         contains(text(Dir, Node ++ ".pem"), ["Subject: O ?= ?gen_rpc\n",
                                              " email:" ++ Node ++ "\n"]),
         ?assertEqual(ok, verify(Dir, Node, ["-x509_strict"]))
     end || Node <- [Longer, Longest]].

%% Every name that a node can have with a host of ASCII.
every_name(Config) ->
    Nodes = ["a@h", "A_b-9@h", "1@2", "a@fe80::1", "a@host.example.com", "_@h", "ca@pem",
             "a@a--b.c"],
    Dir = made(Config, Nodes),
    [contains(text(Dir, Node ++ ".pem"), ["Subject: CN ?= ?" ++ Node ++ "\n",
                                          " email:" ++ Node ++ "\n"]) || Node <- Nodes].

%% The directory may be called as its owner likes.
directory_with_odd_characters(Config) ->
    [begin
         Dir = proplists:get_value(dir, Config) ++ Name,
         ?assertMatch({Name, {0, _}}, {Name, script([Dir, ?NODE])}),
         ?assertEqual(ok, verify(Dir, ?NODE, []))
     end || Name <- [" with space", "$HOME", "'quote'", "a,b=c#d;e", "/deep/down", "\\t*?"]].

%%% Revocation

%% A revoked certificate is on the CRL, and put aside with its key; others stay good.
revokes(Config) ->
    Dir = made(Config, [?NODE, "b@h"]),
    Serial = field(Dir, ?NODE, "-serial"),
    {0, Output} = script(["--revoke", ?NODE, Dir]),
    contains(Output, ["/a@10.0.0.1.pem: revoked"]),
    "serial=" ++ Number = Serial,
    contains(crl(Dir), ["Serial Number: " ++ Number ++ "\n"]),
    [?assertNot(filelib:is_file(filename:join(Dir, ?NODE ++ End))) || End <- [".pem", ".key"]],
    ?assertMatch({error, _}, verify(Dir, ?NODE, ".pem.revoked", ["-crl_check"])),
    ?assertEqual(ok, verify(Dir, "b@h", ["-crl_check"])),
    %% It stays on the list.
    {0, _} = script([Dir]),
    contains(crl(Dir), ["Serial Number: " ++ Number ++ "\n"]).

%% All certificates that a node was ever given are revoked, and none of a node with a similar name.
revokes_all_of_a_node(Config) ->
    Similar = ["axh@h.i", "b@a@h.i", "a@h.i2", "a@hxi"],
    Dir = made(Config, ["a@h.i" | Similar -- ["b@a@h.i"]]),
    ok = file:delete(filename:join(Dir, "a@h.i.pem")),
    {0, _} = script([Dir, "a@h.i"]),
    {0, Output} = script([Dir, "--revoke", "a@h.i"]),
    ?assertMatch({match, [_, _]}, re:run(Output, "a@h.i.pem: revoked", [global])),
    ?assertMatch({match, [_, _]}, re:run(crl(Dir), "Serial Number: ", [global])),
    [?assertEqual({Node, ok}, {Node, verify(Dir, Node, ["-crl_check"])})
     || Node <- Similar -- ["b@a@h.i"]].

%% The same command can make a new certificate, with a new key; several can be revoked at once.
revokes_and_replaces(Config) ->
    Long = lists:duplicate(100, $n) ++ "@h",
    Dir = made(Config, [?NODE, Long, "b@h"]),
    Key = file(Dir, ?NODE ++ ".key"),
    {0, _} = script(["--revoke", ?NODE, "--revoke", Long, Dir, ?NODE]),
    ?assertNotEqual(Key, file(Dir, ?NODE ++ ".key")),
    [?assertEqual({Node, ok}, {Node, verify(Dir, Node, ["-crl_check"])}) || Node <- [?NODE, "b@h"]],
    [?assertMatch({Node, {error, _}}, {Node, verify(Dir, Node, ".pem.revoked", ["-crl_check"])})
     || Node <- [?NODE, Long]].

%% What was never made, or is revoked already, can't be revoked.
nothing_to_revoke(Config) ->
    Dir = made(Config, [?NODE]),
    {0, _} = script([Dir, "--revoke", ?NODE]),
    [begin
         {1, Output} = script([Dir, "--revoke", Node]),
         contains(Output, ["no valid certificate of '" ++ Node ++ "' is known in "])
     end || Node <- ["b@h", ?NODE]].

%%% What it refuses

%% A wrong argument is named, with what is allowed, and nothing is made.
wrong_arguments(Config) ->
    Dir = proplists:get_value(dir, Config),
    [begin
         {Status, Output} = script(Arguments),
         ?assertEqual({Arguments, 1}, {Arguments, Status}),
         contains(Output, ["^make-certs: " | Parts]),
         ?assertEqual({Arguments, false}, {Arguments, filelib:is_file(Dir)})
     end || {Arguments, Parts} <-
                [{[Dir, Node], ["'" ++ quoted(Node) ++ "' is no node name", "NAME@HOST"]}
                 || Node <- ["a", "", "@", "a@", "@h", "a@b@c", "a b@h", "../a@h", "a@../h",
                             "a@h/i", "a.b@h", "a@h,b", "a@h;b", "a@$HOME", "a@h\nb", "a@h\\i",
                             "a@h'", "a@h*"]]
                ++ [{[Dir, lists:duplicate(249, $n) ++ "@h"], ["251 characters", "at most 250"]}]
                ++ [{["--days", Days, Dir], ["--days is '" ++ quoted(Days) ++ "'", "1 to 3650"]}
                    || Days <- ["0", "-1", "3651", "99999999999999999999", "x", "1x", "", "1.5",
                                "01", " 1", "1+1"]]
                ++ [{[Dir, "--days"], ["--days is ''"]},
                    {[Dir, "--revoke"], ["'' is no node name"]},
                    {[Dir, "--revoke", "a"], ["'a' is no node name"]},
                    {[""], ["DIR is empty"]},
                    {[Dir, "--ras", "a@h"], ["unknown option '--ras'", "--rsa"]},
                    {[Dir, "-r"], ["unknown option '-r'"]}]].

%% Without arguments it explains itself.
usage(_Config) ->
    {1, Output} = script([]),
    contains(Output, ["^Usage: make-certs ", "make-certs: DIR is missing\n$"]),
    [begin
         {0, Help} = script([Option]),
         contains(Help, ["^Usage: make-certs "])
     end || Option <- ["--help", "-h"]].

%% Without its key an authority can sign nothing, and no other one takes its place.
key_of_authority_missing(Config) ->
    Dir = made(Config, [?NODE]),
    Cert = file(Dir, "ca.pem"),
    ok = file:delete(filename:join(Dir, "ca.key")),
    {1, Output} = script([Dir, "b@h"]),
    contains(Output, ["ca.pem is there but not its key, "]),
    ?assertEqual(Cert, file(Dir, "ca.pem")),
    ?assertNot(filelib:is_file(filename:join(Dir, "b@h.pem"))).

%% A certificate that is kept though it is of another authority is pointed out.
of_another_authority(Config) ->
    Dir = made(Config, [?NODE]),
    [ok = file:delete(filename:join(Dir, File)) || File <- ["ca.pem", "ca.key"]],
    {0, Output} = script([Dir, ?NODE]),
    contains(Output, ["make-certs: .*/a@10.0.0.1.pem can't be used; remove it for a new one"]).

%% `make certs' is the same.
make_target(Config) ->
    Dir = proplists:get_value(dir, Config),
    Output = make("certs DIR='" ++ Dir ++ "' NODES='a@h b@10.0.0.2'"),
    contains(Output, ["/ca.pem: made", "/a@h.pem: made", "/b@10.0.0.2.pem: made"]),
    [?assertEqual(ok, verify(Dir, Node, ["-crl_check"])) || Node <- ["a@h", "b@10.0.0.2"]],
    contains(make("certs DIR='" ++ Dir ++ "2'"), ["NODES is empty; for example: make certs NODES"]),
    ?assertNot(filelib:is_file(Dir ++ "2")).

make(Arguments) ->
    Source = proplists:get_value(source, ?MODULE:module_info(compile)),
    os:cmd("make -C '" ++ filename:dirname(filename:dirname(Source)) ++ "' " ++ Arguments).

%%% Helpers

%% The directory, after a run with these arguments.
made(Config, Arguments) ->
    Dir = proplists:get_value(dir, Config),
    {0, _} = script([Dir | Arguments]),
    Dir.

file(Dir, Name) ->
    {ok, Bytes} = file:read_file(filename:join(Dir, Name)),
    Bytes.

text(Dir, File) ->
    openssl(["x509", "-noout", "-text", "-in", filename:join(Dir, File)]).

crl(Dir) ->
    openssl(["crl", "-noout", "-text", "-in", filename:join(Dir, "crl.pem")]).

field(Dir, Field) ->
    field(Dir, "ca", Field).

field(Dir, Node, Field) ->
    string:trim(openssl(["x509", "-noout", Field, "-in", filename:join(Dir, Node ++ ".pem")])).

verify(Dir, Node, Options) ->
    verify(Dir, Node, ".pem", Options).

verify(Dir, Node, End, Options) ->
    try
        openssl(["verify", "-CAfile", filename:join(Dir, "ca.pem"),
                 "-CRLfile", filename:join(Dir, "crl.pem")] ++ Options ++
                    [filename:join(Dir, Node ++ End)])
    of
        _ -> ok
    catch
        error:{openssl, _, {_, Output}} -> {error, Output}
    end.

valid_for(Dir, File) ->
    seconds_until(last_field(text(Dir, File), "Not After : (.*)")).

last_field(Text, Pattern) ->
    {match, [Value]} = re:run(Text, Pattern, [{capture, all_but_first, list}]),
    Value.

%% "Nov 21 00:29:26 2027 GMT"
seconds_until(Moment) ->
    {ok, Fields, []} = io_lib:fread("~3s ~d ~d:~d:~d ~d GMT", Moment),
    [Name, Day, Hour, Minute, Second, Year] = Fields,
    Months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    Month = length(lists:takewhile(fun(M) -> M =/= Name end, Months)) + 1,
    calendar:datetime_to_gregorian_seconds({{Year, Month, Day}, {Hour, Minute, Second}}) -
        calendar:datetime_to_gregorian_seconds(calendar:universal_time()).

%% Within the two minutes that a test can take.
about(Expected, Seconds) ->
    ?assert(abs(Seconds - Expected) < 120, {Expected, Seconds}).

contains(Text, Patterns) ->
    Options = [multiline, {capture, none}],
    [?assertMatch({_, match, _}, {Pattern, re:run(Text, Pattern, Options), Text})
     || Pattern <- Patterns].

%% As a pattern that matches just this text.
quoted(Text) ->
    re:replace(Text, "[][\\\\.*+?^${}()|]", "\\\\&", [global, {return, list}]).
