%% SPDX-License-Identifier: Apache-2.0
%% The settings of TLS: what is allowed, what the defaults are, and how a start is refused that
%% can't end well. What TLS does with them is in gen_rpc_tls_SUITE.
-module(gen_rpc_tls_config_SUITE).

-behaviour(ct_suite).

-include_lib("proper/include/proper.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2]).
-export([defaults/1, wrong_settings/1, wrong_options/1, unknown_options/1, missing_options/1,
         random_options/1]).
-export([damaged_files/1, damaged_bundles/1, unusable_certificates/1, unusable_keys/1,
         unusable_lists_and_parameters/1, unusable_suites_and_versions/1]).
-export([right_values/1, forms_of_files/1, passwords/1, secrets_are_not_shown/1]).
-export([refused_start_leaves_nothing/1, port_in_use_is_named/1, certificate_for_another_node/1,
         files_are_read_at_the_start/1, options_are_checked_if_unused/1]).

-import(gen_rpc_test_certs, [options/1]).
-import(gen_rpc_test_node, [call/4, run/2]).

-define(SETTINGS, [ssl_server_options, ssl_client_options]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [defaults, wrong_settings, wrong_options, unknown_options, missing_options, random_options,
     damaged_files, damaged_bundles, unusable_certificates, unusable_keys,
     unusable_lists_and_parameters, unusable_suites_and_versions,
     right_values, forms_of_files, passwords, secrets_are_not_shown,
     refused_start_leaves_nothing, port_in_use_is_named, certificate_for_another_node,
     files_are_read_at_the_start, options_are_checked_if_unused].

init_per_suite(Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), "certs"),
    Node = gen_rpc_test_node:keep(gen_rpc_test_node:start([])),
    ok = gen_rpc_test_events:install(Node),
    Ca = gen_rpc_test_certs:new(Dir),
    Cert = gen_rpc_test_certs:node(Ca, maps:get(node, Node)),
    [{node, Node}, {ca, Ca}, {cert, Cert}, {dir, Dir} | Config].

end_per_suite(Config) ->
    gen_rpc_test_node:stop(subject(Config)).

init_per_testcase(_Case, Config) ->
    ok = gen_rpc_test_node:stop_app(subject(Config)),
    Config.

%%% What is allowed

%% These are the defaults that the documentation promises.
defaults(_Config) ->
    Defaults = #{ssl_server_port => false, ssl_client_port => 5370, ssl_server_options => [],
                 ssl_client_options => [], default_client_driver => tcp},
    ?assertEqual(Defaults, maps:map(fun(Key, _) -> gen_rpc_config:get(Key) end, Defaults)).

%% A setting of a wrong type refuses the start, as all others do. What is in the place of a list of
%% options is not shown: it may hold a password.
wrong_settings(Config) ->
    NoNumbers = [foo, "1", <<"1">>, 1.0, [], {}, #{}, true, undefined, '', [1 | 2]],
    NoPorts = [-1, 65536, 1 bsl 64, infinity | NoNumbers],
    [refused(Config, [{Key, Value}], {invalid_setting, Key, Value})
     || {Key, Values} <- [{ssl_server_port, NoPorts}, {ssl_client_port, [0, false | NoPorts]}],
        Value <- Values],
    [refused(Config, [{Key, Value}], {invalid_setting, Key, hidden})
     || Key <- ?SETTINGS,
        Value <- [foo, "text", <<"text">>, 1, #{}, #{certfile => "f"}, {certfile, "f"}, [certfile],
                  [{certfile, "f", "g"}], [{"certfile", "f"}], [{certfile, "f"} | more], [[]],
                  undefined]].

%% An option of a wrong type is named with its setting, its value and what is allowed.
wrong_options(Config) ->
    [refused(Config, [{Setting, [{Option, Value} | good(Config)]}],
             {invalid_setting, {Setting, Option}, shown(Option, Value)})
     || Setting <- ?SETTINGS, {Option, Values} <- wrong_options_of(Setting), Value <- Values].

wrong_options_of(ssl_server_options) ->
    wrong_options_of_both() ++ [{fail_if_no_peer_cert, [1, "true", undefined, yes]}];
wrong_options_of(ssl_client_options) ->
    wrong_options_of_both() ++
        [{server_name_indication, ["", foo, <<"host">>, "a b", "größe", [a], 1, undefined,
                                   lists:duplicate(256, $n), ["host"], "line\nbreak"]}].

wrong_options_of_both() ->
    NoTexts = [foo, 1, 1.0, [a], ["file"], [-1], [16#D800], [$f | $g], [0], {}, #{}, undefined],
    [{File, ["", <<>> | NoTexts]} || File <- [certfile, keyfile, cacertfile, dhfile, crlfile]] ++
        [{password, NoTexts},
         {versions, [[], 'tlsv1.2', "tlsv1.2", ['tlsv1.1'], ['tlsv1.2', 'tlsv1.2'], [tlsv1],
                     ['tlsv1.2' | 'tlsv1.3'], ['tlsv1.2', sslv3], ["tlsv1.2"], undefined]},
         {ciphers, ["", [], foo, [""], [foo], <<"ECDHE-ECDSA-AES128-GCM-SHA256">>, "A B", [1.0],
                    ["A" | "B"], ["A" | b], undefined, "suite\n"]},
         {depth, [-1, 9, 1.0, foo, "1", infinity, undefined]},
         {verify, [true, false, verify, "verify_peer", undefined]},
         {session_tickets, [1, "true", enabled, undefined]}].

shown(password, _) -> hidden;
shown(_, Value) -> Value.

%% A name that is no option, or that of the other side, is refused with those that are. Its value is
%% not shown.
unknown_options(Config) ->
    [begin
         Reason = refused(Config, [{Setting, [{Option, "chocolate"} | good(Config)]}],
                          {unknown_setting, {Setting, Option}}),
         {unknown_setting, _, Known} = Reason,
         ?assertEqual([], [certfile, keyfile, password, cacertfile, depth, verify] -- Known),
         ?assertNot(lists:member(Option, Known)),
         not_shown(Config, Reason)
     end || {Setting, Option} <- [{ssl_server_options, server_name_indication},
                                  {ssl_client_options, fail_if_no_peer_cert}
                                  | [{Setting, Option} || Setting <- ?SETTINGS,
                                                          Option <- [certfiel, cert, certs_keys,
                                                                     passwrod, verify_fun, '']]]].

%% What TLS can't do without must be there if TLS is to be used at all.
missing_options(Config) ->
    #{certfile := Cert, cacertfile := Root} = proplists:get_value(cert, Config),
    Server = [{ssl_server_port, 0}],
    [refused(Config, Used ++ [{Setting, Options}], {invalid_setting, {Setting, Missing}, undefined})
     || {Used, Setting} <- [{Server, ssl_server_options},
                            {[{default_client_driver, ssl}], ssl_client_options}
                            | [{[{client_config_per_node, {internal, #{'a@h' => Way}}}],
                                ssl_client_options} || Way <- [ssl, {ssl, 1}]]],
        {Options, Missing} <- [{[], certfile}, {[{cacertfile, Root}], certfile},
                               {[{certfile, Cert}], cacertfile}]],
    %% Where nobody speaks TLS, nothing is missing.
    ?assertEqual(ok, start(Config, [{client_config_per_node, {internal, #{'a@h' => tcp}}}])).

%% Whatever somebody writes there: it is taken, or refused with an error that can be read and shows
%% no password. Nothing else ever happens.
random_options(_Config) ->
    ?assertEqual(true, proper:quickcheck(prop_taken_or_refused(), [quiet, {numtests, 3000},
                                                                   {max_size, 30}])
                 orelse proper:counterexample()).

prop_taken_or_refused() ->
    ?FORALL({Role, Given}, {oneof([client, server]), oneof([any(), list(option())])},
            case gen_rpc_tls_options:check(Role, Given) of
                {ok, Options} ->
                    is_map(Options);
                {error, Reason} ->
                    Text = gen_rpc_config:format(Reason),
                    lists:all(fun is_integer/1, Text) andalso not lists:member($\n, Text)
                        andalso is_readable(Reason)
            end).

is_readable({invalid_setting, {_, password}, Value, Allowed}) ->
    Value =:= hidden andalso io_lib:printable_latin1_list(Allowed);
is_readable({invalid_setting, {_, _}, _Value, Allowed}) ->
    io_lib:printable_latin1_list(Allowed);
is_readable({invalid_setting, _, hidden, Allowed}) ->
    io_lib:printable_latin1_list(Allowed);
is_readable({unknown_setting, {_, _}, Known}) ->
    lists:all(fun is_atom/1, Known).

option() ->
    {frequency([{20, oneof([certfile, keyfile, password, cacertfile, dhfile, crlfile, versions,
                            ciphers, depth, verify, session_tickets, fail_if_no_peer_cert,
                            server_name_indication])},
                {1, atom()}, {1, any()}]),
     frequency([{3, string()}, {1, binary()}, {1, list(string())}, {1, range(-1, 10)},
                {1, list(oneof(['tlsv1.2', 'tlsv1.3', atom()]))}, {1, boolean()},
                {1, oneof([verify_peer, verify_none, disable])}, {1, any()}])}.

%%% Files that can't be used

%% A file that is missing, is none, or is damaged, refuses the start: the error names the option,
%% the file, and what is wrong with it.
damaged_files(Config) ->
    Files = files(Config),
    [refused(Config, [{Setting, [{Option, Damaged} | good(Config)]}],
             {invalid_file, {Setting, Option}, Damaged})
     || Setting <- ?SETTINGS, {Option, File} <- Files,
        Damage <- [missing, empty, text, directory, truncated, truncated_der, bad_base64,
                   only_begin, unreadable_der],
        Damaged <- [gen_rpc_test_certs:broken(File, Damage)]],
    %% One of another kind.
    [refused(Config, [{ssl_server_options, [{Option, Other} | good(Config)]}],
             {invalid_file, {ssl_server_options, Option}, Other})
     || {Option, File} <- Files, {_, Other} <- Files, Other =/= File,
        not (lists:member(Option, [certfile, cacertfile]) andalso is_certificate(Other))].

files(Config) ->
    #{certfile := Cert, keyfile := Key, cacertfile := Root} = proplists:get_value(cert, Config),
    Dir = proplists:get_value(dir, Config),
    [{certfile, Cert}, {keyfile, Key}, {cacertfile, Root},
     {crlfile, filename:join(Dir, "crl.pem")},
     {dhfile, gen_rpc_test_certs:dh_file(Dir, 2048)}].

is_certificate(File) ->
    {ok, Text} = file:read_file(File),
    binary:match(Text, <<"BEGIN CERTIFICATE">>) =/= nomatch.

%% In a file of several each must be good: nobody is trusted or distrusted by half a file.
damaged_bundles(Config) ->
    Dir = proplists:get_value(dir, Config),
    [refused(Config, [{ssl_server_options, [{Option, Bundle} | good(Config)]}],
             {invalid_file, {ssl_server_options, Option}, Bundle})
     || {Option, File} <- files(Config), lists:member(Option, [certfile, cacertfile, crlfile]),
        Damage <- [truncated, bad_base64, only_begin, unreadable_der],
        Broken <- [gen_rpc_test_certs:broken(File, Damage)],
        Bundle <- [gen_rpc_test_certs:bundle(Dir, [File, Broken])]].

%% A certificate that no peer would take stops the start, and the reason is in the error: out of
%% time, for another use, or too weak. So does a CA that has expired.
unusable_certificates(Config) ->
    Ca = proplists:get_value(ca, Config),
    Dir = filename:join(proplists:get_value(dir, Config), "unusable"),
    [begin
         Cert = #{certfile := File} = gen_rpc_test_certs:node(Ca, name(Config), Options),
         {invalid_file, _, _, Why} = refused(Config, [{Setting, options(Cert)}],
                                             {invalid_file, {Setting, certfile}, File}),
         contains(Why, Words)
     end || Setting <- ?SETTINGS,
            {Options, Words} <- [{[{valid, expired}], "expired"},
                                 {[{valid, not_yet}], "not valid before"},
                                 {[{usage, case Setting of
                                               ssl_server_options -> [client];
                                               ssl_client_options -> [server]
                                           end}], "extended key usage"},
                                 {[{key, rsa1024}], "1024"}]],
    [begin
         Other = gen_rpc_test_certs:authority(Dir, "not valid", [{valid, Valid}]),
         Cert = #{cacertfile := File} = gen_rpc_test_certs:node(Other, name(Config), []),
         Expected = {invalid_file, {ssl_server_options, cacertfile}, File},
         {invalid_file, _, _, Why} = refused(Config, [{ssl_server_options, options(Cert)}],
                                             Expected),
         contains(Why, Words)
     end || {Valid, Words} <- [{expired, "expired"}, {not_yet, "not valid before"}]],
    %% One above it that has expired.
    Old = gen_rpc_test_certs:intermediate(Ca, [{valid, expired}]),
    Cert = #{certfile := File} = gen_rpc_test_certs:node(Old, name(Config), []),
    refused(Config, [{ssl_server_options, options(Cert)}],
            {invalid_file, {ssl_server_options, certfile}, File}).

%% The key must be that of the certificate, and must be opened by the password.
unusable_keys(Config) ->
    Ca = proplists:get_value(ca, Config),
    Node = name(Config),
    [begin
         [Cert, Other] = [gen_rpc_test_certs:node(Ca, Node, [{key, Key}])
                          || Key <- [Kind, OtherKind]],
         #{keyfile := Wrong} = Swapped = gen_rpc_test_certs:with_key_of(Cert, Other),
         {invalid_file, _, _, Why} = refused(Config, [{Setting, options(Swapped)}],
                                             {invalid_file, {Setting, keyfile}, Wrong}),
         contains(Why, "not the key of the certificate")
     end || Setting <- ?SETTINGS,
            {Kind, OtherKind} <- [{p256, p256}, {p256, p384}, {rsa2048, rsa2048}, {p256, rsa2048},
                                  {rsa2048, p256}]],
    Cert = gen_rpc_test_certs:node(Ca, Node, []),
    [begin
         Encrypted = #{keyfile := File} = gen_rpc_test_certs:encrypted(Cert, How, "open, sesame"),
         {invalid_file, _, _, Why} =
             refused(Config, [{ssl_server_options, options(maps:remove(password, Encrypted))}],
                     {invalid_file, {ssl_server_options, keyfile}, File}),
         contains(Why, "encrypted"),
         [refused(Config, [{ssl_server_options, options(Encrypted#{password := Password})}],
                  {invalid_setting, {ssl_server_options, password}, hidden})
          || Password <- ["open, sesam", "Open, sesame", <<0>>]]
     end || How <- [traditional_aes128, pbes2_aes256, pbes2_3des]].

%% A list that has expired would let nobody in. Short parameters protect nothing.
unusable_lists_and_parameters(Config) ->
    Ca = proplists:get_value(ca, Config),
    Dir = filename:join(proplists:get_value(dir, Config), "lists"),
    ok = filelib:ensure_dir(filename:join(Dir, "file")),
    Good = gen_rpc_test_certs:revoked_list(Ca, now, []),
    Old = gen_rpc_test_certs:revoked_list(Ca, expired, []),
    [begin
         {invalid_file, _, _, Why} =
             refused(Config, [{ssl_server_options, [{Option, File} | good(Config)]}],
                     {invalid_file, {ssl_server_options, Option}, File}),
         contains(Why, Words)
     end || {Option, File, Words} <-
                [{crlfile, Old, "expired"},
                 {crlfile, gen_rpc_test_certs:bundle(Dir, [Good, Old]), "expired"},
                 {dhfile, gen_rpc_test_certs:dh_file(Dir, 1024), "1024"}]].

%% Suites that are unknown, or that have no forward secrecy or no authenticated encryption, and
%% versions that the library does not have.
unusable_suites_and_versions(Config) ->
    [refused(Config, [{Setting, [{ciphers, Ciphers} | good(Config)]}],
             {invalid_setting, {Setting, ciphers}, Ciphers})
     || Setting <- ?SETTINGS,
        Ciphers <- ["nonsense", ["ECDHE-ECDSA-AES128-GCM-SHA256", "nonsense"],
                    "ECDHE-ECDSA-AES128-GCM-SHA256:", ":ECDHE-ECDSA-AES128-GCM-SHA256",
                    "ecdhe-ecdsa-aes128-gcm-sha256", "AES128-GCM-SHA256", "AES128-SHA",
                    "ECDHE-ECDSA-AES128-SHA", "NULL-SHA256", "ALL", "DEFAULT",
                    "TLS_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256:!RC4"]],
    %% Suites of other versions than those that are allowed.
    New = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256",
    refused(Config, [{ssl_server_options, [{ciphers, New}, {versions, ['tlsv1.2']}
                                           | good(Config)]}],
            {invalid_setting, {ssl_server_options, ciphers}, New}),
    case gen_rpc_test_tls:versions() of
        ['tlsv1.2', 'tlsv1.3'] ->
            Old = "ECDHE-ECDSA-AES128-GCM-SHA256",
            refused(Config, [{ssl_client_options, [{ciphers, Old}, {versions, ['tlsv1.3']}
                                                   | good(Config)]}],
                    {invalid_setting, {ssl_client_options, ciphers}, Old});
        ['tlsv1.2'] ->
            [refused(Config, [{ssl_server_options, [{versions, Versions} | good(Config)]}],
                     {invalid_setting, {ssl_server_options, versions}, Versions})
             || Versions <- [['tlsv1.3'], ['tlsv1.3', 'tlsv1.2']]]
    end.

%%% What works

%% The first and the last value of every range, and every kind of value, start.
right_values(Config) ->
    Dh = gen_rpc_test_certs:dh_file(proplists:get_value(dir, Config), 2048),
    Crl = filename:join(proplists:get_value(dir, Config), "crl.pem"),
    Both = [{versions, [['tlsv1.2'], gen_rpc_test_tls:versions(),
                        lists:reverse(gen_rpc_test_tls:versions())]},
            {ciphers, ["ECDHE-ECDSA-AES128-GCM-SHA256",
                       ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"],
                       "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:ECDHE-RSA-CHACHA20-POLY1305"]},
            {depth, [0, 8]}, {verify, [verify_peer, verify_none]}, {session_tickets, [true, false]},
            {dhfile, [Dh]}, {crlfile, [Crl, list_to_binary(Crl)]},
            {password, ["", "unused", <<>>]}],
    [started(Config, [{Setting, [{Option, Value} | good(Config)]}])
     || {Setting, Options} <-
            [{ssl_server_options, Both ++ [{fail_if_no_peer_cert, [true, false]}]},
             {ssl_client_options, Both ++ [{server_name_indication,
                                            [disable, "h", lists:duplicate(255, $h)]}]}],
        {Option, Values} <- Options, Value <- Values],
    [started(Config, [{Key, Value}, {ssl_server_options, good(Config)},
                      {ssl_client_options, good(Config)}])
     || {Key, Values} <- [{ssl_server_port, [0, false, gen_rpc_test_node:free_port()]},
                          {ssl_client_port, [1, 65535]},
                          {default_client_driver, [ssl]},
                          {client_config_per_node, [{internal, #{'a@h' => ssl,
                                                                 'b@h' => {ssl, 65535},
                                                                 'c@h' => tcp}}]}],
        Value <- Values],
    %% Where nobody looks at certificates, no authority is needed.
    started(Config, [{ssl_server_options,
                      [{verify, verify_none} | lists:keydelete(cacertfile, 1, good(Config))]}]),
    %% The first of two counts.
    started(Config, [{ssl_server_options, [{depth, 3}, {depth, 99} | good(Config)]}]).

%% Files may be PEM or DER, names strings or binaries, and the key may stand in the file of its
%% certificate.
forms_of_files(Config) ->
    Files = proplists:get_value(cert, Config),
    #{certfile := Cert, keyfile := Key, cacertfile := Root} = Files,
    Dir = proplists:get_value(dir, Config),
    Der = fun(Kind, File) ->
                  Out = File ++ ".der",
                  _ = gen_rpc_test_certs:openssl([Kind, "-in", File, "-outform", "DER",
                                                  "-out", Out]),
                  Out
          end,
    Crl = filename:join(Dir, "crl.pem"),
    Odd = filename:join(Dir, "Größe 木"),
    {ok, _} = file:copy(Cert, Odd),
    [started(Config, [{ssl_server_port, 0},
                      {ssl_server_options, options(maps:merge(Files, Other))}])
     || Other <- [#{certfile => list_to_binary(Cert), keyfile => list_to_binary(Key)},
                  #{certfile => Der("x509", Cert), keyfile => Der("pkey", Key),
                    cacertfile => Der("x509", Root), crlfile => Der("crl", Crl)},
                  #{certfile => Odd}, #{certfile => unicode:characters_to_binary(Odd)}]],
    [started(Config, [{ssl_server_port, 0},
                      {ssl_server_options, [{certfile, gen_rpc_test_certs:bundle(Dir, Order)},
                                            {cacertfile, Root}]}])
     || Order <- [[Cert, Key], [Key, Cert], [Cert, Root, Key]]].

%% A password opens the key, however it is written.
passwords(Config) ->
    Ca = proplists:get_value(ca, Config),
    Cert = gen_rpc_test_certs:node(Ca, name(Config), []),
    [begin
         Encrypted = gen_rpc_test_certs:encrypted(Cert, How, Password),
         [started(Config, [{ssl_server_options, options(Encrypted#{password := Form})}])
          || Form <- [Password, list_to_binary(Password)]]
     end || How <- [traditional_aes128, pbes2_aes256, pbes2_3des],
            Password <- ["pass", "with space and 'quote'", lists:duplicate(100, $p)]].

%% No error and no line ever shows a password, right or wrong, wherever it stands.
secrets_are_not_shown(Config) ->
    Ca = proplists:get_value(ca, Config),
    #{keyfile := Key} = Encrypted =
        gen_rpc_test_certs:encrypted(gen_rpc_test_certs:node(Ca, name(Config), []), pbes2_3des,
                                     "chocolate"),
    Right = options(Encrypted),
    Wrong = options(Encrypted#{password := "chocolate bar"}),
    [begin
         {error, Reason} = start(Config, Settings),
         not_shown(Config, Reason)
     end || Settings <- [[{ssl_server_options, Wrong}],
                         [{ssl_server_options, [{depth, 99} | Right]}],
                         [{ssl_server_options, [{nonsense, "chocolate"} | Right]}],
                         [{ssl_server_options, [{password, chocolate} | Right]}],
                         [{ssl_server_options, [{password, ["chocolate"]} | Right]}],
                         [{ssl_server_options, {password, "chocolate"}}],
                         [{ssl_server_options, [{certfile, Key} | Right]}],
                         [{ssl_server_options, [{crlfile, Key} | Right]}],
                         [{ssl_client_options, Wrong}],
                         [{ssl_server_options, Right}, {ssl_client_options, [{depth, 99}]}],
                         [{ssl_server_options, Right}, {connect_timeout, 0}]]],
    %% Nor does a process that crashes.
    ?assertEqual(ok, start(Config, [{ssl_server_port, 0}, {ssl_server_options, Right},
                                    {ssl_client_options, Right}])),
    Node = subject(Config),
    [begin
         gen_rpc_test_node:wait(fun() -> restarted(Node, Name, undefined) end),
         Pid = call(Node, erlang, whereis, [Name]),
         ok = call(Node, sys, terminate, [Name, crash]),
         gen_rpc_test_node:wait(fun() -> restarted(Node, Name, Pid) end)
     end || Name <- [gen_rpc_tls, gen_rpc_listener_ssl, gen_rpc_driver]],
    not_shown(Config, none).

restarted(Node, Name, Before) ->
    not lists:member(call(Node, erlang, whereis, [Name]), [undefined, Before]).

%%% Starts

%% A start that is refused because of a file leaves no process, port, table or setting behind, and
%% the next one works.
refused_start_leaves_nothing(Config) ->
    Node = subject(Config),
    Before = gen_rpc_test_node:resources(Node),
    Missing = "/no/such/file",
    [begin
         refused(Config, [{connect_timeout, 1234}, {Setting, [{Option, Missing} | good(Config)]}
                          | Others], {invalid_file, {Setting, Option}, Missing}),
         ?assertEqual([], gen_rpc_test_node:leftovers(Node)),
         ?assertEqual(5000, call(Node, gen_rpc_config, get, [connect_timeout])),
         ?assertEqual([], run(Node, fun() -> [Key || {Key, _} <- persistent_term:get(),
                                                     is_setting(Key)] end))
     end || {Setting, Others} <- [{ssl_server_options, [{ssl_client_options, good(Config)}]},
                                  {ssl_client_options, [{ssl_server_options, good(Config)}]}],
            Option <- [certfile, keyfile, cacertfile]],
    gen_rpc_test_node:wait(fun() -> gen_rpc_test_node:resources(Node) =:= Before end),
    started(Config, [{ssl_server_port, 0}, {ssl_server_options, good(Config)}]).

%% What is kept of the settings.
is_setting({gen_rpc_tls, _}) -> true;
is_setting(Key) -> Key =:= gen_rpc_config.

%% A port number that somebody else listens on refuses the start, and the error says which.
port_in_use_is_named(Config) ->
    {ok, Listening} = gen_tcp:listen(0, []),
    {ok, Number} = inet:port(Listening),
    {error, Reason} = start(Config, [{ssl_server_port, Number},
                                     {ssl_server_options, good(Config)}]),
    Text = lists:flatten(io_lib:format("~p", [Reason])),
    [contains(Text, Part) || Part <- ["ssl_server_port", integer_to_list(Number), "eaddrinuse"]],
    ?assertEqual([], gen_rpc_test_node:leftovers(subject(Config))),
    ok = gen_tcp:close(Listening).

%% A certificate that is for another node starts, because some peers may not look at names; but a
%% line says that the others will refuse it.
certificate_for_another_node(Config) ->
    Ca = proplists:get_value(ca, Config),
    Cert = gen_rpc_test_certs:node(Ca, 'other@127.0.0.1', []),
    [begin
         ?assertEqual(ok, start(Config, [{Setting, options(Cert)}])),
         [#{level := warning, report := Report}] = gen_rpc_test_events:ours(subject(Config)),
         ?assertMatch(#{what := "certificate is not for this node", setting := Setting}, Report),
         ok = gen_rpc_test_node:stop_app(subject(Config))
     end || Setting <- ?SETTINGS].

%% Files are read once: what happens to them later is for the next start.
files_are_read_at_the_start(Config) ->
    Dir = proplists:get_value(dir, Config),
    #{certfile := Cert} = Files = proplists:get_value(cert, Config),
    Copy = filename:join(Dir, "copy.pem"),
    {ok, _} = file:copy(Cert, Copy),
    Settings = [{ssl_server_port, 0}, {ssl_server_options, options(Files#{certfile := Copy})}],
    ?assertEqual(ok, start(Config, Settings)),
    ok = file:write_file(Copy, "nonsense"),
    Number = call(subject(Config), gen_rpc_listener, port_number, [ssl]),
    #{keyfile := Key, cacertfile := Root} = Files,
    {0, Output} = gen_rpc_test_tls:s_client(Number, ["-cert", Cert, "-key", Key, "-CAfile", Root]),
    contains(Output, "Verify return code: 0 (ok)"),
    ok = gen_rpc_test_node:stop_app(subject(Config)),
    refused(Config, Settings, {invalid_file, {ssl_server_options, certfile}, Copy}).

%% Options that no connection uses yet are checked all the same.
options_are_checked_if_unused(Config) ->
    [begin
         refused(Config, [{Setting, [{certfile, "/no/such/file"} | good(Config)]}],
                 {invalid_file, {Setting, certfile}, "/no/such/file"}),
         started(Config, [{Setting, good(Config)}])
     end || Setting <- ?SETTINGS].

%%% Helpers

%% The node that is started with these settings.
subject(Config) -> proplists:get_value(node, Config).

name(Config) -> maps:get(node, subject(Config)).

good(Config) -> options(proplists:get_value(cert, Config)).

%% The start is refused for this reason, and one line of level error says all of it.
refused(Config, Settings, Expected) ->
    Reason = case start(Config, Settings) of
                 {error, R} -> R;
                 ok -> error({started, Settings, Expected})
             end,
    Parts = case {Reason, Expected} of
                {{invalid_setting, Key, Value, Allowed}, {invalid_setting, Key, Value}} ->
                    names(Key) ++ shown_parts(Value) ++ [Allowed];
                {{unknown_setting, Key, Known}, {unknown_setting, Key}} ->
                    names(Key) ++ [atom_to_list(Option) || Option <- Known];
                {{invalid_file, Key, File, Why}, {invalid_file, Key, File}} ->
                    names(Key) ++ [File, Why];
                _ ->
                    error({refused, Settings, Reason, Expected})
            end,
    ?assert(io_lib:printable_latin1_list(lists:last(Parts)), Reason),
    ?assertNotEqual("", lists:last(Parts)),
    [#{level := error, text := Text}] = gen_rpc_test_events:ours(subject(Config)),
    [contains(Text, Part) || Part <- ["gen_rpc: invalid setting" | Parts]],
    ?assertNot(lists:member($\n, Text)),
    Reason.

names({Setting, Option}) -> [atom_to_list(Setting), atom_to_list(Option)];
names(Setting) -> [atom_to_list(Setting)].

shown_parts(hidden) -> [];
shown_parts(Value) -> [lists:flatten(io_lib:format("~0tp", [Value]))].

started(Config, Settings) ->
    ?assertEqual({Settings, ok}, {Settings, start(Config, Settings)}),
    ?assertEqual({Settings, []}, {Settings, gen_rpc_test_events:ours(subject(Config))}),
    ok = gen_rpc_test_node:stop_app(subject(Config)).

%% As from a sys.config with these settings and no others.
start(Config, Settings) ->
    Node = subject(Config),
    ok = gen_rpc_test_events:clear(Node),
    case run(Node, fun() -> start_with([{tcp_server_port, 0} | Settings]) end) of
        ok -> ok;
        {error, {Reason, {gen_rpc_app, start, _}}} -> {error, Reason}
    end.

start_with(Settings) ->
    [ok = application:unset_env(gen_rpc, Key) || {Key, _} <- application:get_all_env(gen_rpc)],
    [ok = application:set_env(gen_rpc, Key, Value) || {Key, Value} <- Settings],
    application:start(gen_rpc).

not_shown(Config, Reason) ->
    [?assertEqual(nomatch, string:find(Text, "chocolate"))
     || Text <- [io_lib:format("~p", [Reason]), gen_rpc_test_events:text(subject(Config))]].

contains(Text, Part) ->
    ?assertNotEqual({Part, nomatch}, {Part, string:find(Text, Part)}).
