%% SPDX-License-Identifier: Apache-2.0
%% Connections over TLS on real nodes: what works, who is refused and what both sides say of it, and
%% strangers. The settings are in gen_rpc_tls_config_SUITE.
-module(gen_rpc_tls_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([calls_and_casts/1, messages_of_all_sizes/1, many_callers/1, tcp_and_tls_at_once/1,
         both_directions/1, every_way_to_a_node/1, versions/1, suites_decide_versions/1,
         wrong_cookie/1, wrong_node/1]).
-export([keys_of_all_kinds/1, encrypted_keys/1, names_in_all_places/1, chains/1,
         several_authorities/1, finite_field/1, ciphers/1]).
-export([second_connection_resumes/1, no_resumption_without_tickets/1,
         resumption_ends_with_the_node/1, expires_while_running/1]).
-export([client_is_refused/1, server_is_refused/1, list_of_a_stranger/1,
         stranger_without_certificate/1, stranger_is_refused/1, stranger_server_is_refused/1,
         certificate_is_optional/1,
         unverified/1, man_in_the_middle/1, alert_is_never_lost/1]).
-export([old_versions/1, suites_without_forward_secrecy/1, plain_and_tls_mixed_up/1, garbage/1,
         records_of_nonsense/1, silent_ones_delay_nobody/1, slow_one_is_dropped/1,
         renegotiation_is_refused/1, new_keys_are_refused/1, testssl/1]).
-export([node_is_killed/1, node_halts/1, node_stops/1, idle_connection_closes/1,
         truncated_and_closed_are_told_apart/1, bit_flipped/1, reset_in_handshake/1]).
-export([thousand_failed_handshakes/1, thousand_connections/1]).

-import(gen_rpc_test_certs, [options/1]).
-import(gen_rpc_test_node, [call/4, rpc/4, rpc/5, run/2, wait/1]).
-import(gen_rpc_test_pair, [lines/2, lines/3]).
-import(gen_rpc_test_tls, [s_client/2]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 200000).

%% Plaintext of one record, bytes.
-define(RECORD, 16384).

-define(SILENT, 200).

%% By how much a node that leaks nothing can seem to grow, bytes. A state of TLS is some 30 kB.
-define(NOISE, 10 * 1024 * 1024).

suite() ->
    [{timetrap, {seconds, 60}}].

%% All but the last group are about TLS 1.2, whatever else the library has. The highest version that
%% it has is the one without an option.
all() ->
    Groups = [{group, Group} || {Group, _, _} <- groups()],
    case lists:member('tlsv1.3', gen_rpc_test_tls:versions()) of
        true -> Groups;
        false -> Groups -- [{group, tls_13}]
    end.

groups() ->
    [{works, [], [calls_and_casts, messages_of_all_sizes, many_callers, tcp_and_tls_at_once,
                  both_directions, every_way_to_a_node, versions, wrong_cookie, wrong_node]},
     {certificates, [], [keys_of_all_kinds, encrypted_keys, names_in_all_places, chains,
                         several_authorities, finite_field, ciphers]},
     {resumption, [], [second_connection_resumes, no_resumption_without_tickets,
                       resumption_ends_with_the_node, expires_while_running]},
     {refused, [], [client_is_refused, server_is_refused, list_of_a_stranger,
                    stranger_without_certificate, stranger_is_refused, stranger_server_is_refused,
                    certificate_is_optional, unverified, man_in_the_middle, alert_is_never_lost]},
     {strangers, [], [old_versions, suites_without_forward_secrecy, plain_and_tls_mixed_up, garbage,
                      records_of_nonsense, silent_ones_delay_nobody, slow_one_is_dropped,
                      renegotiation_is_refused, testssl]},
     {ends, [], [node_is_killed, node_halts, node_stops, idle_connection_closes,
                 truncated_and_closed_are_told_apart, bit_flipped, reset_in_handshake]},
     {many, [], [thousand_failed_handshakes, thousand_connections]},
     {tls_13, [], [calls_and_casts, messages_of_all_sizes, many_callers, tcp_and_tls_at_once,
                   both_directions, suites_decide_versions, wrong_cookie, wrong_node,
                   keys_of_all_kinds, names_in_all_places, chains, several_authorities,
                   second_connection_resumes, expires_while_running,
                   client_is_refused, server_is_refused, list_of_a_stranger,
                   stranger_without_certificate, stranger_is_refused, stranger_server_is_refused,
                   certificate_is_optional, unverified, man_in_the_middle,
                   old_versions, suites_without_forward_secrecy, plain_and_tls_mixed_up, garbage,
                   records_of_nonsense, silent_ones_delay_nobody, slow_one_is_dropped,
                   new_keys_are_refused,
                   node_is_killed, node_halts, node_stops, idle_connection_closes,
                   truncated_and_closed_are_told_apart, bit_flipped, reset_in_handshake,
                   thousand_failed_handshakes, thousand_connections]}].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(crypto),
    Dir = filename:join(proplists:get_value(priv_dir, Config), "certs"),
    with_version('tlsv1.2', [{tls, gen_rpc_test_tls:start_pair(Dir)} | Config]).

with_version(Version, Config) ->
    Forced = [{versions, [Version]} || Version =/= lists:last(gen_rpc_test_tls:versions())],
    [{version, Version}, {forced, Forced} | Config].

end_per_suite(Config) ->
    #{pair := Pair} = tls(Config),
    gen_rpc_test_pair:stop(Pair).

init_per_group(tls_13, Config) -> with_version('tlsv1.3', Config);
init_per_group(_Group, Config) -> Config.

end_per_group(_Group, _Config) -> ok.

init_per_testcase(testssl, Config) ->
    _ = ct:timetrap({seconds, 440}),
    Config;
init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, Config) ->
    #{pair := Pair} = tls(Config),
    gen_rpc_test_pair:finish(Pair).

%%% What works

%% Calls and casts are as over TCP, however they end, and both sides know what was negotiated.
calls_and_casts(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    ?assertEqual(Node, rpc(Client, Server, {erlang, node}, [])),
    Endings = fun() -> [{Name, gen_rpc:call(Node, M, F, A, 10000)}
                        || {Name, {M, F, A}} <- gen_rpc_test_target:endings()]
              end,
    %% On the node itself nothing is sent.
    ?assertEqual(run(Server, Endings), run(Client, Endings)),
    ?assertEqual({badrpc, timeout}, rpc(Client, Server, {timer, sleep}, [infinity], 50)),
    ok = call(Server, gen_rpc_test_target, start_counter, []),
    [true = call(Client, gen_rpc, cast, [Node, gen_rpc_test_target, count, [I]])
     || I <- lists:seq(1, 100)],
    wait(fun() -> length(call(Server, gen_rpc_test_target, counted, [])) =:= 100 end),
    ?assertEqual([Node], call(Client, gen_rpc, nodes, [])),
    Cipher = case version(Config) of
                 'tlsv1.2' -> <<"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256">>;
                 'tlsv1.3' -> <<"TLS_CHACHA20_POLY1305_SHA256">>
             end,
    Expected = #{version => version(Config), resumed => false, cipher => Cipher},
    ?assertEqual(Expected, negotiated(Client, Node)),
    ?assertMatch([#{tls := Expected}], gen_rpc_test_node:acceptors(Server)),
    [?assertEqual([], gen_rpc_test_events:ours(N)) || N <- [Client, Server]].

%% Every size around the bounds of records, and megabytes, arrive as they were sent, both ways.
messages_of_all_sizes(Config) ->
    {Client, #{node := Node}} = restart(Config, [], []),
    Sizes = lists:usort([0, 1, 20 * 1024 * 1024] ++
                            [Records * ?RECORD + D || Records <- [1, 2, 4, 16],
                                                      D <- lists:seq(-80, 80, 4) ++ [-1, 1]]),
    ?assertEqual([], run(Client, fun() -> [Size || Size <- Sizes, not comes_back(Node, Size)] end)).

comes_back(Node, Size) ->
    Binary = crypto:strong_rand_bytes(Size),
    Binary =:= gen_rpc:call(Node, gen_rpc_test_target, echo, [Binary], ?LONG).

%% Two hundred callers with messages of all sizes share one connection, and each gets its own back.
many_callers(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    Call = fun(I) ->
                   lists:all(fun(Size) -> comes_back(Node, Size) end, [I, 20000 + I, 100 * I])
           end,
    Results = run(Client, fun() ->
                                  gen_rpc_test_task:results(gen_rpc_test_task:start(200, Call))
                          end),
    ?assertEqual([true], lists:usort(Results)),
    ?assertMatch([_], gen_rpc_test_node:acceptors(Server)).

%% One node serves both kinds at the same time, each on its own port.
tcp_and_tls_at_once(Config) ->
    {Client, #{node := Node, port := Port, ssl_port := SslPort} = Server} = restart(Config, [], []),
    ?assertNotEqual(Port, SslPort),
    ?assertEqual(Node, echo(Client, Node)),
    Plain = gen_rpc_test_stranger:connect(Port),
    Cookie = atom_to_binary(call(Server, erlang, get_cookie, [])),
    ok = gen_rpc_test_stranger:login(Plain, <<"plain@host">>, atom_to_binary(Node), Cookie),
    ?assertEqual(Node, echo(Client, Node)),
    wait(fun() -> length(gen_rpc_test_node:acceptors(Server)) =:= 2 end),
    Kinds = [Tls =:= undefined || #{tls := Tls} <- gen_rpc_test_node:acceptors(Server)],
    ?assertEqual([false, true], lists:sort(Kinds)),
    ok = gen_tcp:close(Plain),
    wait(fun() -> length(gen_rpc_test_node:acceptors(Server)) =:= 1 end),
    ?assertEqual(Node, echo(Client, Node)).

%% Two nodes that call each other have a connection each way, each made by its own client.
both_directions(Config) ->
    #{pair := {Client0, Server0}} = tls(Config),
    [Port1, Port2] = [gen_rpc_test_node:free_port() || _ <- [1, 2]],
    A = #{node := NodeA} = Client0#{ssl_port => Port1},
    B = #{node := NodeB} = Server0#{ssl_port => Port2},
    [gen_rpc_test_node:restart_app(
       N, [gen_rpc_test_node:env(ssl, [A, B]), {ssl_server_port, maps:get(ssl_port, N)},
           {ssl_server_options, completed(Config, Role, [])},
           {ssl_client_options, completed(Config, Role, [])}])
     || {N, Role} <- [{A, client}, {B, server}]],
    ?assertEqual({NodeB, NodeA}, {echo(A, NodeB), echo(B, NodeA)}),
    Version = version(Config),
    [?assertMatch([#{tls := #{version := Version}}], gen_rpc_test_node:acceptors(N))
     || N <- [A, B]].

%% The driver, the port number, both, or nothing at all tell the way; what is missing is the
%% default.
every_way_to_a_node(Config) ->
    {Client, #{node := Node, ssl_port := Port} = Server} = restart(Config, [], []),
    Ways = fun(N, Way) -> [{client_config_per_node, {internal, #{N => Way}}}] end,
    [begin
         _ = gen_rpc_test_node:restart_app(
               Client, [{ssl_client_options, good(Config, client)} | Settings]),
         ?assertEqual({Settings, Node}, {Settings, rpc(Client, Server, {erlang, node}, [])}),
         ?assertMatch(#{version := _}, negotiated(Client, Node))
     end || Settings <- [Ways(Node, {ssl, Port}),
                         [{ssl_client_port, Port} | Ways(Node, ssl)],
                         [{default_client_driver, ssl} | Ways(Node, Port)],
                         [{default_client_driver, ssl}, {ssl_client_port, Port}
                          | Ways('other@127.0.0.1', tcp)],
                         [{default_client_driver, ssl}, {ssl_client_port, Port}]]].

%% The highest version that both have is used; without a common one there is no connection. To one
%% who has only the older, a hello for the newer looks like one of an older without any good suite.
versions(Config) ->
    All = gen_rpc_test_tls:versions(),
    Allowed = [[V] || V <- All] ++ [All || length(All) > 1],
    [begin
         {Client, #{node := Node} = Server} = restart(Config, [{versions, Mine}],
                                                      [{versions, Yours}]),
         case [V || V <- Mine, lists:member(V, Yours)] of
             [] ->
                 ?assertMatch({badtcp, {tls, _}}, echo(Client, Node)),
                 [Reason] = refusals(Server, 1),
                 ?assert(lists:member(Reason, [protocol_version, no_shared_cipher]));
             Common ->
                 ?assertEqual(Node, echo(Client, Node)),
                 ?assertEqual({Mine, Yours, lists:last(Common)},
                              {Mine, Yours, maps:get(version, negotiated(Client, Node))})
         end
     end || Mine <- Allowed, Yours <- Allowed].

%% Where both allow several versions, the suites that they allow decide. Among those of TLS 1.3 it
%% is the client's order that counts, whatever the server's is.
suites_decide_versions(Config) ->
    Old = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    New = ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_AES_128_CCM_SHA256",
           "TLS_CHACHA20_POLY1305_SHA256"],
    [begin
         {Client, #{node := Node}} = restart(Config, [{ciphers, Mine}], [{ciphers, Yours}]),
         ?assertEqual({Mine, Yours, Node}, {Mine, Yours, echo(Client, Node)}),
         #{version := Version, cipher := Cipher} = negotiated(Client, Node),
         ?assertEqual({Mine, Yours, Expected}, {Mine, Yours, {Version, binary_to_list(Cipher)}})
     end || {Mine, Yours, Expected} <-
                [{[Old], [Old | New], {'tlsv1.2', Old}},
                 {New ++ [Old], [Old], {'tlsv1.2', Old}},
                 {New, lists:reverse(New), {'tlsv1.3', hd(New)}}
                 | [{[Old, Suite], [Old | New], {'tlsv1.3', Suite}} || Suite <- New]]],
    {Client, #{node := Node} = Server} = restart(Config, [{ciphers, New}], [{ciphers, [Old]}]),
    ?assertEqual({badtcp, {tls, {alert, handshake_failure}}}, echo(Client, Node)),
    ?assertEqual([no_shared_cipher], refusals(Server, 1)).

%% A certificate does not replace the cookie.
wrong_cookie(Config) ->
    {Client, Server} = restart(Config, [], [], [{secret_cookie, "mine"}],
                               [{secret_cookie, "other"}]),
    ?assertEqual({badrpc, invalid_cookie}, rpc(Client, Server, {erlang, node}, [])),
    ?assertMatch([#{reason := invalid_cookie}], lines(Client, "cannot connect")),
    ?assertMatch([#{reason := invalid_cookie}], lines(Server, "peer refused", 1)).

%% A node that is reached under another's name is not spoken to: its certificate is not for that
%% name. Who looks at no certificate still hears it from the node itself.
wrong_node(Config) ->
    Other = 'other@127.0.0.1',
    [begin
         {_, #{ssl_port := Port} = Server} = restart(Config, Options, []),
         Client = client_to(Config, Other, {ssl, Port}, Options),
         ?assertEqual(Result, echo(Client, Other)),
         ?assertMatch([#{node := Other, reason := Mine}], lines(Client, "cannot connect")),
         ?assertMatch([#{reason := Yours}], lines(Server, "peer refused", 1))
     end || {Options, Result, Mine, Yours} <-
                [{[], {badtcp, {tls, wrong_name}}, {tls, wrong_name},
                  {tls, {alert, bad_certificate}}},
                 {[{verify, verify_none}], {badrpc, nodedown}, wrong_node, wrong_node}]].

%%% Certificates that are good

%% Keys of each kind on either side, and one kind beside the other.
keys_of_all_kinds(Config) ->
    Kinds = [p256, p384, rsa2048, rsa3072],
    Certs = [{Kind, node_cert(Config, client, [{key, Kind}]),
              node_cert(Config, server, [{key, Kind}])} || Kind <- Kinds],
    [begin
         {Client, #{node := Node}} = restart(Config, Mine, Yours),
         ?assertEqual({Kind1, Kind2, Node}, {Kind1, Kind2, echo(Client, Node)}),
         #{version := Version, cipher := Cipher} = negotiated(Client, Node),
         %% In later versions suites say nothing of keys.
         ?assert(Version =/= 'tlsv1.2' orelse key_of_suite(Cipher) =:= server_key(Kind2))
     end || {Kind1, Mine, _} <- Certs, {Kind2, _, Yours} <- Certs,
            Kind1 =:= Kind2 orelse lists:sort([Kind1, Kind2]) =:= [p256, rsa2048]].

server_key(p256) -> "ECDSA";
server_key(p384) -> "ECDSA";
server_key(_Rsa) -> "RSA".

key_of_suite(Cipher) ->
    lists:nth(3, string:lexemes(binary_to_list(Cipher), "_")).

%% A key may be encrypted, in each of the formats that openssl has written over the years.
encrypted_keys(Config) ->
    [begin
         Cert = gen_rpc_test_certs:node(ca(Config), name(Config, server), [{key, Key}]),
         Encrypted = gen_rpc_test_certs:encrypted(Cert, How, "open, sesame"),
         {Client, #{node := Node}} = restart(Config, [], options(Encrypted)),
         ?assertEqual({How, Key, Node}, {How, Key, echo(Client, Node)})
     end || How <- [traditional_aes128, pbes2_aes256, pbes2_3des], Key <- [p256, rsa2048]].

%% A node's name may be the common name, or an alternative one of any kind that is text.
names_in_all_places(Config) ->
    [begin
         Options = fun(Role) ->
                           Name = atom_to_list(name(Config, Role)),
                           node_cert(Config, Role, Where(Name))
                   end,
         {Client, #{node := Node}} = restart(Config, Options(client), Options(server)),
         ?assertEqual({Where("n@h"), Node}, {Where("n@h"), echo(Client, Node)})
     end || Where <- [fun(Name) -> [{cn, Name}, {san, []}] end,
                      fun(Name) -> [{cn, none}, {san, [{email, Name}]}] end,
                      fun(Name) -> [{cn, none}, {san, [{dns, Name}]}] end,
                      fun(Name) -> [{cn, none}, {san, [{uri, Name}]}] end,
                      fun(Name) -> [{cn, "other@h"}, {san, [{dns, "x"}, {uri, "y:z"},
                                                           {email, Name}, {email, "b@c"}]}] end,
                      fun(Name) -> [{cn, Name}, {san, [{email, "other@h"}]}] end]].

%% Certificates in between are taken from whoever has to prove something, as many as depth allows.
chains(Config) ->
    One = gen_rpc_test_certs:intermediate(ca(Config), []),
    Two = gen_rpc_test_certs:intermediate(One, [{key, rsa2048}]),
    Cert = fun(Ca, Role) -> options(gen_rpc_test_certs:node(Ca, name(Config, Role), [])) end,
    [begin
         Depths = [{depth, Depth} || Depth =/= default],
         {Client, #{node := Node}} = restart(Config, Depths ++ Cert(Ca, client),
                                             Depths ++ Cert(Ca, server)),
         ?assertEqual({Depth, Node}, {Depth, echo(Client, Node)})
     end || {Ca, Depth} <- [{ca(Config), 0}, {One, 1}, {Two, 2}, {Two, 8}, {One, default}]],
    [begin
         refused_client(Config, Cert(Ca, client), [{depth, Depth}], chain_too_long, access_denied),
         refused_server(Config, [{depth, Depth}], Cert(Ca, server), chain_too_long, access_denied)
     end || {Ca, Depth} <- [{One, 0}, {Two, 1}]],
    %% Without those in between nobody knows the way up to the root.
    Alone = fun(Role) -> options(gen_rpc_test_certs:node(Two#{chain := []}, name(Config, Role), []))
            end,
    refused_client(Config, Alone(client), [], unknown_ca, unknown_ca),
    refused_server(Config, [], Alone(server), unknown_ca, unknown_ca).

%% Nodes of several authorities trust each other if each has all of them in its file; one in it that
%% has expired does no harm.
several_authorities(Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), "several"),
    [Mine, Old, Yours] = [gen_rpc_test_certs:authority(filename:join(Dir, Name), Name, Options)
                          || {Name, Options} <- [{"mine", []}, {"old", [{valid, expired}]},
                                                 {"yours", [{key, rsa2048}]}]],
    Files = [File || #{certfile := File} <- [Mine, Old, Yours]],
    [begin
         Bundle = gen_rpc_test_certs:bundle(Dir, Order),
         Cert = fun(Ca, Role) ->
                        C = gen_rpc_test_certs:node(Ca, name(Config, Role), []),
                        options(C#{cacertfile := Bundle})
                end,
         {Client, #{node := Node}} = restart(Config, Cert(Mine, client), Cert(Yours, server)),
         ?assertEqual(Node, echo(Client, Node))
     end || Order <- [Files, lists:reverse(Files)]].

%% With dhfile a server can use finite fields, for those who ask for them.
finite_field(Config) ->
    Dh = gen_rpc_test_certs:dh_file(proplists:get_value(priv_dir, Config), 2048),
    Cert = node_cert(Config, server, [{key, rsa2048}]),
    {Client, #{node := Node}} = restart(Config, [{ciphers, "DHE-RSA-AES128-GCM-SHA256"}],
                                        [{dhfile, Dh} | Cert]),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertMatch(#{cipher := <<"TLS_DHE_RSA_WITH_AES_128_GCM_SHA256">>}, negotiated(Client, Node)),
    refused_client(Config, [{ciphers, "DHE-RSA-AES128-GCM-SHA256"}], Cert, no_shared_cipher,
                   handshake_failure).

%% Both sides can limit the suites, by either kind of name; the server's order decides. Without a
%% common one there is no connection.
ciphers(Config) ->
    [begin
         {Client, #{node := Node}} = restart(Config, [{ciphers, Mine}], [{ciphers, Yours}]),
         ?assertEqual({Mine, Yours, Node}, {Mine, Yours, echo(Client, Node)}),
         ?assertMatch(#{cipher := Chosen}, negotiated(Client, Node))
     end || {Mine, Yours, Chosen} <-
                [{"ECDHE-ECDSA-AES256-GCM-SHA384", ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"],
                  <<"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384">>},
                 {"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-CCM",
                  "ECDHE-ECDSA-AES128-CCM:ECDHE-ECDSA-AES128-GCM-SHA256",
                  <<"TLS_ECDHE_ECDSA_WITH_AES_128_CCM">>},
                 {["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"],
                  ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"],
                  <<"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256">>}]],
    refused_client(Config, [{ciphers, "ECDHE-ECDSA-AES256-GCM-SHA384"}],
                   [{ciphers, "ECDHE-ECDSA-AES128-GCM-SHA256"}], no_shared_cipher,
                   handshake_failure),
    %% The server's certificate decides, too.
    refused_client(Config, [{ciphers, "ECDHE-RSA-AES128-GCM-SHA256"}], [], no_shared_cipher,
                   handshake_failure).

%%% Resumption

%% Later connections between the same nodes resume the session of the first, and are as good. With
%% TLS 1.3 they do not: its tickets do not tell whose certificate it was.
second_connection_resumes(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    Later = version(Config) =:= 'tlsv1.2',
    ?assertEqual([false, Later, Later], resumed(Client, Node, [1, 2, 3])),
    Both = [Resumed || #{tls := #{resumed := Resumed}} <- gen_rpc_test_node:acceptors(Server)],
    ?assertEqual([false, Later, Later], lists:sort(Both)),
    ?assert(run(Client, fun() -> comes_back({Node, 3}, 100000) end)).

%% Where one side has session_tickets off, every handshake is a full one.
no_resumption_without_tickets(Config) ->
    Off = [{session_tickets, false}],
    [begin
         {Client, #{node := Node}} = restart(Config, Mine, Yours),
         ?assertEqual([false, false], resumed(Client, Node, [1, 2]))
     end || {Mine, Yours} <- [{Off, []}, {[], Off}, {Off, Off}]].

%% A server that was restarted knows no old sessions: full handshakes, without anybody noticing. One
%% that trusts others than before lets nobody in by an old session.
resumption_ends_with_the_node(Config) ->
    Port = gen_rpc_test_node:free_port(),
    Fixed = [{ssl_server_port, Port}],
    {Client, #{node := Node} = Server} = restart(Config, [], [], [], Fixed),
    ?assertEqual([false, true], resumed(Client, Node, [1, 2])),
    _ = gen_rpc_test_node:restart_app(
          Server, [{ssl_server_options, completed(Config, server, [])} | Fixed]),
    wait(fun() -> call(Client, gen_rpc, nodes, []) =:= [] end),
    ?assertEqual([false, true], resumed(Client, Node, [1, 2])),
    #{client := Cert} = tls(Config),
    Crl = gen_rpc_test_certs:revoked_list(ca(Config), now, [Cert]),
    _ = gen_rpc_test_node:restart_app(
          Server, [{ssl_server_options, completed(Config, server, [{crlfile, Crl}])} | Fixed]),
    wait(fun() -> call(Client, gen_rpc, nodes, []) =:= [] end),
    ?assertEqual({badtcp, {tls, {alert, certificate_revoked}}}, echo(Client, {Node, 3})).

resumed(Client, Node, Keys) ->
    [begin
         ?assertEqual(Node, echo(Client, {Node, Key})),
         #{resumed := Resumed} = negotiated(Client, {Node, Key}),
         Resumed
     end || Key <- Keys].

%% When a certificate expires, its node can make no new connections, by resumption neither; those it
%% has go on.
expires_while_running(Config) ->
    Short = fun(Role) -> node_cert(Config, Role, [{valid, {seconds, 5}}]) end,
    [begin
         {Client, #{node := Node}} = restart(Config, Mine(), Yours()),
         ?assertEqual([false, version(Config) =:= 'tlsv1.2'], resumed(Client, Node, [1, 2])),
         Expired = {badtcp, {tls, Reason}},
         wait(fun() -> echo(Client, {Node, make_ref()}) =:= Expired end),
         ?assertEqual(Node, echo(Client, {Node, 1}))
     end || {Mine, Yours, Reason} <-
                [{fun() -> Short(client) end, fun() -> [] end,
                  heard(Config, certificate_expired)},
                 {fun() -> [] end, fun() -> Short(server) end, certificate_expired}]].

%%% Who is refused

%% A server refuses these clients, and says why in one line; the caller hears it from the alert.
client_is_refused(Config) ->
    [refused_client(Config, Mine, Yours, Reason, Alert)
     || {Mine, Yours, Reason, Alert} <- bad_certificates(Config, client, server)],
    %% This one can only be found when the peer has said who it is.
    Other = node_cert(Config, client, [{cn, "other@h"}, {san, [{email, "other@h"}]}]),
    {Client, #{node := Node} = Server} = restart(Config, Other, []),
    ?assertEqual({badtcp, {tls, name_refused}}, echo(Client, Node)),
    ?assertMatch([#{reason := {tls, name_refused}}], lines(Client, "cannot connect")),
    ?assertMatch([#{reason := {tls, wrong_name}}], lines(Server, "peer refused", 1)).

%% A client refuses these servers.
server_is_refused(Config) ->
    [refused_server(Config, Mine, Yours, Reason, Alert)
     || {Yours, Mine, Reason, Alert} <- bad_certificates(Config, server, client)],
    [refused_server(Config, [], node_cert(Config, server, Names), wrong_name, bad_certificate)
     || Names <- [[{cn, "other@h"}, {san, [{email, "other@h"}]}],
                  [{cn, none}, {san, []}],
                  [{cn, string:uppercase(atom_to_list(name(Config, server)))}, {san, []}],
                  [{cn, atom_to_list(name(Config, server)) ++ ".h"}, {san, []}],
                  [{cn, none}, {san, [{dns, "*"}, {dns, "*@127.0.0.1"}, {email, "127.0.0.1"}]}]]].

%% Options of the one with the bad certificate, those of the other, what the other finds, and the
%% alert that it sends.
bad_certificates(Config, Role, Other) ->
    Dir = filename:join([proplists:get_value(priv_dir, Config), "bad", Role]),
    #{ca := Ca, Role := Good} = tls(Config),
    Foreign = gen_rpc_test_certs:authority(filename:join(Dir, "foreign"), "foreign", []),
    Between = gen_rpc_test_certs:intermediate(Ca, []),
    Impostor = gen_rpc_test_certs:impostor(filename:join(Dir, "impostor"), Ca),
    NoAuthority = gen_rpc_test_certs:node(Ca, name(Config, Role), []),
    By = fun(Issuer, Options) ->
                 Cert = gen_rpc_test_certs:node(Issuer, name(Config, Role), Options),
                 options(Cert#{cacertfile := maps:get(cacertfile, Ca)})
         end,
    Crl = fun(Issuer, Valid, Revoked) ->
                  [{crlfile, gen_rpc_test_certs:revoked_list(Issuer, Valid, Revoked)} |
                   good(Config, Other)]
          end,
    [{By(Foreign, []), [], unknown_ca, unknown_ca},
     {By(Impostor, []), [], unknown_ca, unknown_ca},
     {By(Ca, [self_signed]), [], unknown_ca, unknown_ca},
     %% Signed by a certificate that is no authority's.
     {By(Ca#{certfile := maps:get(certfile, NoAuthority), keyfile := maps:get(keyfile, NoAuthority),
             chain := [maps:get(certfile, NoAuthority)]}, []), [], unknown_ca, unknown_ca},
     {By(Ca, [{digest, sha1}]), [], certificate_invalid, certificate_unknown},
     {options(Good), Crl(Ca, now, [Good]), certificate_revoked, certificate_revoked},
     {By(Between, []), Crl(Ca, now, [Between]), certificate_revoked, certificate_revoked},
     {options(Good), Crl(Impostor, now, []), crl_invalid, certificate_unknown},
     {options(Good), Crl(Ca, not_yet, []), crl_invalid, certificate_unknown}].

%% A list of revoked certificates by an authority that nobody here knows does neither good nor harm,
%% whatever is on it.
list_of_a_stranger(Config) ->
    #{client := Cert} = tls(Config),
    Dir = filename:join(proplists:get_value(priv_dir, Config), "stranger"),
    Foreign = gen_rpc_test_certs:authority(Dir, "foreign", []),
    Crl = gen_rpc_test_certs:revoked_list(Foreign, now, [Cert]),
    {Client, #{node := Node}} = restart(Config, [], [{crlfile, Crl}]),
    ?assertEqual(Node, echo(Client, Node)).

%% Who has no certificate is refused.
stranger_without_certificate(Config) ->
    {_, #{ssl_port := Port} = Server} = restart(Config, [], []),
    Output = stranger(Port, ["-CAfile", root(Config)]),
    ?assert(has_alert(Config, Output, "handshake failure"), Output),
    ?assertMatch([no_certificate], refusals(Server, 1)).

%% Nor can one come in whose certificate has expired, is not valid yet, is for another use, or has a
%% key that is too short. A node would not start with it.
stranger_is_refused(Config) ->
    {_, #{ssl_port := Port} = Server} = restart(Config, [], []),
    [begin
         ok = gen_rpc_test_events:clear(Server),
         Cert = gen_rpc_test_certs:node(ca(Config), 'stranger@127.0.0.1', Options),
         Output = stranger(Port, ["-cipher", "DEFAULT:@SECLEVEL=0" | identity(Cert)]),
         ?assert(has_alert(Config, Output, Alert), Output),
         ?assertEqual([Reason], refusals(Server, 1))
     end || {Options, Reason, Alert} <- bad_certificates_of_strangers(server)].

%% The same for a server, as a client sees it.
stranger_server_is_refused(Config) ->
    Node = name(Config, server),
    [begin
         Cert = gen_rpc_test_certs:node(ca(Config), Node, Options),
         {Program, Port} = gen_rpc_test_tls:s_server(["-cipher", "DEFAULT:@SECLEVEL=0"
                                                      | identity(Cert)]),
         Client = client_to(Config, Node, Port),
         ?assertEqual({badtcp, {tls, Reason}}, echo(Client, Node)),
         ?assertMatch([#{node := Node, reason := {tls, Reason}}], lines(Client, "cannot connect")),
         {Stopping, Output} = gen_rpc_test_tls:read_until(Program, "alert [^:]*:"),
         contains(Output, "alert " ++ Alert),
         ok = gen_rpc_test_tls:stop(Stopping)
     end || {Options, Reason, Alert} <- bad_certificates_of_strangers(client)].

bad_certificates_of_strangers(Use) ->
    [{[{valid, expired}], certificate_expired, "certificate expired"},
     {[{valid, not_yet}], certificate_not_yet_valid, "certificate unknown"},
     {[{usage, [Use]}], certificate_invalid, "unsupported certificate"},
     {[{key, rsa1024}], certificate_invalid, "unsupported certificate"}].

%% A server may let those in who have no certificate; one that is wrong is refused all the same.
certificate_is_optional(Config) ->
    {Client, #{node := Node, ssl_port := Port} = Server} =
        restart(Config, [], [{fail_if_no_peer_cert, false}]),
    ?assertEqual(Node, echo(Client, Node)),
    {0, _} = s_client(Port, ["-CAfile", root(Config), "-verify_return_error"]),
    _ = lines(Server, "peer refused", 1),
    Dir = filename:join(proplists:get_value(priv_dir, Config), "optional"),
    Foreign = gen_rpc_test_certs:authority(Dir, "foreign", []),
    [refused(Config, options(Cert#{cacertfile := root(Config)}),
             [{fail_if_no_peer_cert, false}], {alert, bad_certificate}, Reason)
     || {Cert, Reason} <-
            [{gen_rpc_test_certs:node(Foreign, name(Config, client), []), unknown_ca},
             {gen_rpc_test_certs:node(ca(Config), name(Config, client), [{digest, sha1}]),
              certificate_invalid}]].

%% Who does not want to know whom it speaks to can say so; the cookie is still asked for.
unverified(Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), "unverified"),
    Foreign = gen_rpc_test_certs:authority(Dir, "foreign", []),
    Options = fun(Role) ->
                      C = gen_rpc_test_certs:node(Foreign, name(Config, Role), [self_signed]),
                      [{verify, verify_none} | options(maps:remove(cacertfile, C))]
              end,
    {Client, #{node := Node} = Server} = restart(Config, Options(client), Options(server)),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertMatch([#{tls := #{}}], gen_rpc_test_node:acceptors(Server)),
    {Client2, #{node := Node}} = restart(Config, Options(client), Options(server),
                                         [{secret_cookie, other}], []),
    ?assertEqual({badrpc, invalid_cookie}, echo(Client2, Node)).

%% Somebody in between who ends TLS on both sides, and forwards what is inside, gets nowhere even
%% with those who look at no certificates: the proof of the cookie is bound to the one they saw.
man_in_the_middle(Config) ->
    Unverified = [{verify, verify_none}],
    {_, #{node := Node, ssl_port := Port} = Server} = restart(Config, Unverified, Unverified),
    {Program, Number} = gen_rpc_test_tls:start_relay(Port, identity(Config, client)),
    Client = client_to(Config, Node, {ssl, Number}, Unverified),
    ?assertEqual({badrpc, invalid_cookie}, echo(Client, Node)),
    ?assertMatch([#{reason := invalid_cookie}], lines(Server, "peer refused", 1)),
    {_, _} = gen_rpc_test_tls:end_of(Program).

%% The alert that says why arrives, however the segments of both sides fall: a hundred times.
alert_is_never_lost(Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), "lost"),
    Foreign = gen_rpc_test_certs:authority(Dir, "foreign", []),
    Cert = gen_rpc_test_certs:node(Foreign, name(Config, client), []),
    Patient = gen_rpc_test_tls:patient(),
    {Client, #{node := Node}} = restart(Config, options(Cert#{cacertfile := root(Config)}), [],
                                        Patient, Patient),
    Results = run(Client, fun() -> call_keys(Node, 100) end),
    ?assertEqual([{badtcp, {tls, {alert, unknown_ca}}}], lists:usort(Results)).

%%% Strangers

%% Versions before 1.2 are refused, by the server and by the client.
old_versions(Config) ->
    {_, #{ssl_port := Port} = Server} = restart(Config, [], []),
    Old = ["-cipher", "ALL:@SECLEVEL=0"],
    [begin
         ok = gen_rpc_test_events:clear(Server),
         contains(stranger(Port, [Version | Old] ++ identity(Config, client)),
                  "alert protocol version"),
         ?assertEqual([protocol_version], refusals(Server, 1))
     end || Version <- ["-tls1", "-tls1_1"]],
    [begin
         ok = gen_rpc_test_events:clear(Server),
         Socket = send(Port, gen_rpc_test_tls:client_hello(Version)),
         ?assertMatch(<<21, 3, _, 2:16, 2, 70>>, gen_rpc_test_stranger:recv(Socket, 7)),
         ?assert(is_closed(Socket)),
         ?assertEqual([protocol_version], refusals(Server, 1))
     end || Version <- [16#0300, 16#0301, 16#0302]],
    %% A server that answers with a lower version than the client has asked for.
    Node = name(Config, server),
    [begin
         {ok, Listening} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
         {ok, Number} = inet:port(Listening),
         Client = client_to(Config, Node, Number),
         Caller = gen_rpc_test_task:start(fun() -> echo(Client, Node) end),
         {ok, Socket} = gen_tcp:accept(Listening, ?LONG),
         <<22, _/binary>> = gen_rpc_test_stranger:recv(Socket, 0),
         ok = gen_tcp:send(Socket, gen_rpc_test_tls:server_hello(Version)),
         ?assertMatch(<<21, 3, _, 2:16, 2, 70>>, gen_rpc_test_stranger:recv(Socket, 7)),
         ?assertEqual({badtcp, {tls, protocol_version}}, gen_rpc_test_task:result(Caller)),
         [ok = gen_tcp:close(S) || S <- [Socket, Listening]]
     end || Version <- [16#0300, 16#0301, 16#0302]].

%% No suite without forward secrecy, without encryption, without authentication or with CBC is to be
%% had, with no kind of key.
suites_without_forward_secrecy(Config) ->
    Suites = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA256", "AES128-CCM",
              "CAMELLIA128-SHA", "NULL-SHA256", "ECDHE-ECDSA-NULL-SHA", "ECDHE-RSA-NULL-SHA",
              "ADH-AES128-GCM-SHA256", "AECDH-AES128-SHA",
              "ECDHE-ECDSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA", "DHE-RSA-AES128-SHA256",
              "ECDHE-ECDSA-AES128-CCM8", "DHE-RSA-AES128-CCM8", "ECDHE-ECDSA-CAMELLIA128-SHA256",
              "ARIA128-GCM-SHA256"],
    Dh = gen_rpc_test_certs:dh_file(proplists:get_value(priv_dir, Config), 2048),
    [begin
         {_, #{ssl_port := Port} = Server} = restart(Config, [], [{dhfile, Dh} | Cert]),
         [begin
              ok = gen_rpc_test_events:clear(Server),
              Output = stranger(Port, ["-tls1_2", "-cipher", Suite ++ ":@SECLEVEL=0"
                                       | identity(Config, client)]),
              contains(Output, "alert handshake failure"),
              ?assertEqual({Suite, [no_shared_cipher]}, {Suite, refusals(Server, 1)})
          end || Suite <- Suites]
     end || Cert <- [[], node_cert(Config, server, [{key, rsa2048}])]],
    %% A server that has no other.
    Node = name(Config, server),
    Rsa = gen_rpc_test_certs:node(ca(Config), Node, [{key, rsa2048}]),
    {Program, Number} = gen_rpc_test_tls:s_server(
                          ["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES128-SHA" | identity(Rsa)]),
    Client = client_to(Config, Node, Number),
    ?assertEqual({badtcp, {tls, {alert, handshake_failure}}}, echo(Client, Node)),
    ok = gen_rpc_test_tls:stop(Program).

%% Plain gen_rpc at the port of TLS, and TLS at the plain one: refused at once, with the reason.
plain_and_tls_mixed_up(Config) ->
    {Client, #{node := Node, port := Plain, ssl_port := Tls} = Server} =
        restart(Config, [], [], [], [{authentication_timeout, ?LONG}]),
    To = fun(Way) ->
                 ok = gen_rpc_test_events:clear(Server),
                 _ = gen_rpc_test_node:restart_app(
                       Client, [{client_config_per_node, {internal, #{Node => Way}}},
                                {ssl_client_options, good(Config, client)},
                                {authentication_timeout, ?LONG} | once()]),
                 echo(Client, Node)
         end,
    ?assertEqual({badrpc, nodedown}, To({tcp, Tls})),
    ?assertEqual([not_tls], refusals(Server, 1)),
    ?assertEqual({badtcp, {tls, closed}}, To({ssl, Plain})),
    ?assertMatch([#{reason := not_gen_rpc}], lines(Server, "peer refused", 1)).

%% Whatever is not TLS ends at its first byte, not at a time limit.
garbage(Config) ->
    {Client, #{node := Node, ssl_port := Port} = Server} =
        restart(Config, [], [], [], [{authentication_timeout, ?LONG}]),
    Node = echo(Client, Node),
    [begin
         ok = gen_rpc_test_events:clear(Server),
         Socket = send(Port, Bytes),
         ?assertEqual({Bytes, true}, {Bytes, is_closed(Socket)}),
         ?assertEqual({Bytes, [not_tls]}, {Bytes, refusals(Server, 1)})
     end || Bytes <- [<<"GET / HTTP/1.1\r\n\r\n">>, <<0>>, <<16#8e>>,
                      <<16#8e, "GR", 1, 1, 0, 0, 60>>,
                      <<16#80, 46, 1, 3, 3, 0, 21, 0, 0, 0, 16>>, % a hello of SSL 2
                      <<20, 3, 3, 0, 1, 1>>, <<23, 3, 3, 0, 16, 0:128>>, <<255>>,
                      <<0, (rand:bytes(100000))/binary>>]],
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(Node, echo(Client, {Node, new})).

%% Records that look like TLS and make no sense end their connection, and no other.
records_of_nonsense(Config) ->
    {Client, #{node := Node, ssl_port := Port} = Server} =
        restart(Config, [], [], [], [{authentication_timeout, ?LONG}]),
    Node = echo(Client, Node),
    Hello = hello(Config),
    <<22, 3, 1, _:16, Message/binary>> = Hello,
    Record = fun(Type, Bytes) -> <<Type, 3, 3, (byte_size(Bytes)):16, Bytes/binary>> end,
    [begin
         ok = gen_rpc_test_events:clear(Server),
         Socket = send(Port, Bytes),
         ?assertEqual({Name, true}, {Name, is_closed(Socket)}),
         ?assertMatch({Name, [_]}, {Name, refusals(Server, 1)})
     end || {Name, Bytes} <-
                [{wrong_major_version, <<22, 4, 1, 0, 4, 1, 0, 0, 0>>},
                 {too_long, <<22, 3, 1, 16#FFFF:16, 0:(16#FFFF * 8)>>},
                 {longer_than_a_record_may_be, <<22, 3, 1, 18000:16, 1, 17000:24, 0:(18000 * 8)>>},
                 {empty, <<22, 3, 1, 0:16>>},
                 {hello_of_a_server, Record(22, <<2, 4:24, 0:32>>)},
                 {finished_first, Record(22, <<20, 12:24, 0:96>>)},
                 {hello_of_zeros, Record(22, <<1, 100:24, 0:800>>)},
                 {hello_of_nothing, Record(22, <<1, 0:24>>)},
                 {enormous_message, [Record(22, <<1, 16#FFFFFF:24, 0:800>>),
                                     Record(22, <<0:(16000 * 8)>>), Record(22, <<0:(16000 * 8)>>)]},
                 {fatal_alert, Record(21, <<2, 40>>)},
                 {close_notify, Record(21, <<1, 0>>)},
                 {data_behind_hello, [Hello, Record(23, <<0:256>>)]},
                 {second_hello, [Hello, Record(22, Message)]},
                 {finished_behind_hello, [Hello, Record(22, <<20, 12:24, 0:96>>)]},
                 {ciphertext_behind_hello, [Hello, Record(20, <<1>>), Record(22, <<0:320>>)]},
                 {no_certificate, [Hello, Record(22, <<11, 3:24, 0:24>>)]},
                 {broken_certificate, [Hello, Record(22, <<11, 10:24, 7:24, 4:24, 0:32>>)]},
                 {alert_behind_hello, [Hello, Record(21, <<2, 42>>)]}]],
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual(Node, echo(Client, {Node, new})).

%% Two hundred who connect and say nothing, and as many who stop in the middle of a handshake, have
%% no process and delay nobody.
silent_ones_delay_nobody(Config) ->
    {Client, #{node := Node, ssl_port := Port} = Server} =
        restart(Config, [{session_tickets, false}], [], [], [{authentication_timeout, ?LONG}]),
    Node = echo(Client, Node),
    Before = #{processes := Processes} = gen_rpc_test_node:resources(Server),
    Hello = hello(Config),
    Sockets = [send(Port, Bytes) || Bytes <- [<<>>, Hello], _ <- lists:seq(1, ?SILENT)],
    [?assertMatch({ok, <<22>>}, gen_tcp:recv(Socket, 1, ?LONG))
     || Socket <- lists:nthtail(?SILENT, Sockets)],
    ?assertMatch(#{processes := Processes}, gen_rpc_test_node:resources(Server)),
    [?assertEqual(Node, call(Client, gen_rpc, call, [{Node, Key}, erlang, node, [], 1000]))
     || Key <- lists:seq(1, 10)],
    [ok = run(Client, fun() -> drop({Node, Key}) end) || Key <- lists:seq(1, 10)],
    lists:foreach(fun gen_tcp:close/1, Sockets),
    wait(fun() -> gen_rpc_test_node:resources(Server) =:= Before end).

%% The time limit is for both handshakes together: a byte now and then does not extend it.
slow_one_is_dropped(Config) ->
    {_, #{ssl_port := Port} = Server} =
        restart(Config, [], [], [], [{authentication_timeout, 500}]),
    Hello = hello(Config),
    Socket = gen_rpc_test_stranger:connect(Port),
    ?assert(send_slowly(Socket, Hello, 0) < byte_size(Hello)),
    ?assertMatch([#{reason := authentication_timeout}], lines(Server, "peer refused", 1)),
    %% Behind the handshake of TLS, that of gen_rpc.
    ok = gen_rpc_test_events:clear(Server),
    Program = gen_rpc_test_tls:s_client(Port, identity(Config, client), interactive),
    {_, _} = gen_rpc_test_tls:end_of(Program),
    ?assertMatch([#{reason := authentication_timeout}], lines(Server, "peer refused", 1)),
    %% Amid a message that the first record only begins, which a library may refuse at once.
    ok = gen_rpc_test_events:clear(Server),
    ?assert(is_closed(send(Port, <<22, 3, 1, 104:16, 1, 12000:24, 0:800>>))),
    [#{reason := Reason}] = lines(Server, "peer refused", 1),
    ?assert(lists:member(Reason, [authentication_timeout, {tls, handshake_failed}]), Reason).

%% How many bytes were sent until the other side closed; 100 ms for each.
send_slowly(_Socket, <<>>, Sent) ->
    Sent;
send_slowly(Socket, <<Byte, Rest/binary>>, Sent) ->
    case gen_tcp:send(Socket, <<Byte>>) of
        ok ->
            case gen_tcp:recv(Socket, 0, 100) of
                {error, timeout} -> send_slowly(Socket, Rest, Sent + 1);
                _AlertOrClosed -> Sent
            end;
        {error, _Closed} ->
            Sent
    end.

%% Nobody may negotiate again on a connection that stands, neither a client nor a server.
renegotiation_is_refused(Config) ->
    {_, #{ssl_port := Port} = Server} = restart(Config, [], []),
    Program0 = gen_rpc_test_tls:s_client(Port, identity(Config, client), interactive),
    {Program, _} = gen_rpc_test_tls:read_until(Program0, "Verify return code: 0 \\(ok\\)"),
    ok = gen_rpc_test_tls:type(Program, "R\n"),
    {1, Output} = gen_rpc_test_tls:end_of(Program),
    contains(Output, "no renegotiation"),
    ?assertEqual([renegotiation], refusals(Server, 1)),
    Node = name(Config, server),
    {Other0, Number} = gen_rpc_test_tls:s_server(["-tls1_2" | identity(Config, server)]),
    Client = client_to(Config, Node, Number),
    Caller = gen_rpc_test_task:start(fun() -> echo(Client, Node) end),
    {Other, _} = gen_rpc_test_tls:read_until(Other0, "CIPHER is [^\n]*\n"),
    ok = gen_rpc_test_tls:type(Other, "r\n"),
    ?assertEqual({badtcp, {tls, renegotiation}}, gen_rpc_test_task:result(Caller)),
    ?assertMatch([#{reason := {tls, renegotiation}}], lines(Client, "cannot connect")),
    ok = gen_rpc_test_tls:stop(Other).

%% TLS 1.3 has new keys instead, which the library can't make.
new_keys_are_refused(Config) ->
    {_, #{ssl_port := Port} = Server} = restart(Config, [], []),
    [begin
         ok = gen_rpc_test_events:clear(Server),
         Program0 = gen_rpc_test_tls:s_client(Port, identity(Config, client), interactive),
         {Program, _} = gen_rpc_test_tls:read_until(Program0, "Verify return code: 0 \\(ok\\)"),
         ok = gen_rpc_test_tls:type(Program, Key),
         {_, _} = gen_rpc_test_tls:end_of(Program),
         ?assertEqual([bad_record], refusals(Server, 1))
     end || Key <- ["k\n", "K\n"]].

%% The judgement of a program that knows the weaknesses of thirty years: it finds none. One server
%% has an elliptic curve and insists on certificates; the other has RSA and finite fields too, and
%% lets strangers in, so that all can be tried out that needs a whole handshake.
testssl(Config) ->
    case os:find_executable("testssl") of
        false -> {skip, "no testssl"};
        _ -> testssl_both(Config)
    end.

testssl_both(Config) ->
    Dir = proplists:get_value(priv_dir, Config),
    Rsa = node_cert(Config, server, [{key, rsa2048}]),
    Dh = gen_rpc_test_certs:dh_file(Dir, 2048),
    {Client, Server} =
        restart(Config, [], [{versions, gen_rpc_test_tls:versions()}, {dhfile, Dh},
                             {fail_if_no_peer_cert, false} | Rsa],
                [{ssl_server_port, 0}, {ssl_server_options, good(Config, client)}], []),
    Judge = fun(Name, #{ssl_port := Port}, Tests) ->
                    gen_rpc_test_tls:start_testssl(
                      Port, ["-p", "-s", "-f", "-U", "--add-ca", root(Config) | Tests],
                      filename:join(Dir, Name))
            end,
    Runs = [Judge("curve.json", Client, []), Judge("rsa.json", Server, ["-S"])],
    [Curve, Field] = [gen_rpc_test_tls:findings(Run) || Run <- Runs],
    Bad = fun(Findings, Tolerated) ->
                  [Finding || {Id, Severity, _} = Finding <- Findings, not is_fine(Severity),
                              not lists:member(Id, ["engine_problem" | Tolerated])] % its openssl
          end,
    ?assertEqual([], Bad(Curve, ["secure_client_renego", "BREACH"])), % need a certificate
    ?assertEqual([], Bad(Field, ["cert_trust",       % a node's name is not the host's
                                 "cert_revocation",  % the list is a file, not at an address
                                 "DNS_CAArecord"])), % nor is there anything in the DNS
    %% It did try.
    [?assertEqual({Id, ["OK"]}, {Id, [Severity || {I, Severity, _} <- Findings, I =:= Id]})
     || Findings <- [Curve, Field],
        Id <- ["SSLv2", "SSLv3", "TLS1_2", "cipherlist_NULL", "cipherlist_aNULL", "heartbleed",
               "CCS", "ROBOT", "secure_renego", "CRIME_TLS", "POODLE_SSL", "SWEET32", "FREAK",
               "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4"]],
    [?assertEqual(["OK"], [Severity || {Id, Severity, _} <- Findings,
                                      Id =:= "PFS" orelse Id =:= "FS"]) % by version of testssl
     || Findings <- [Curve, Field]],
    [?assertMatch([_], [F || {"TLS1_3", "OK", _} = F <- Findings])
     || Findings <- [Curve, Field], lists:member('tlsv1.3', gen_rpc_test_tls:versions())],
    ?assertMatch([_], [F || {"secure_client_renego", "OK", _} = F <- Field]),
    ?assertMatch([_], [F || {"cert_chain_of_trust", "OK", _} = F <- Field]).

is_fine(Severity) ->
    lists:member(Severity, ["OK", "INFO", "DEBUG"]).

%%% How connections end

%% Somebody cuts the connection: what is missing is missed, and callers hear that it was not the
%% peer's doing.
node_is_killed(Config) ->
    node_ends(Config, fun gen_rpc_test_node:kill/1, {tls, truncated}).

%% It ends at once, in the middle of everything.
node_halts(Config) ->
    node_ends(Config, fun(#{peer := Peer}) -> peer:stop(Peer) end, any).

%% It stops its applications one by one.
node_stops(Config) ->
    node_ends(Config, fun(#{peer := Peer} = Server) ->
                              true = unlink(Peer),
                              Monitor = monitor(process, Peer),
                              ok = call(Server, init, stop, []),
                              receive {'DOWN', Monitor, process, Peer, _} -> ok end
                      end, any).

node_ends(Config, End, Reason) ->
    Name = peer:random_name(),
    Node = list_to_atom(Name ++ "@127.0.0.1"),
    Cert = gen_rpc_test_certs:node(ca(Config), Node),
    Start = fun(Port) -> gen_rpc_test_node:start(Name, [{ssl_server_port, Port},
                                                        {ssl_server_options, options(Cert)}]) end,
    #{ssl_port := Port} = Server = Start(gen_rpc_test_node:free_port()),
    Client = client_to(Config, Node, Port),
    Tasks = gen_rpc_test_task:start(50, fun(_) -> never_returns(Client, Node) end),
    wait(fun() -> served(Server) =:= 50 end),
    ok = End(Server),
    Results = lists:usort(gen_rpc_test_task:results(Tasks)),
    case Reason of
        any -> ?assertMatch([{badtcp, _}], Results);
        _ -> ?assertEqual([{badtcp, Reason}], Results)
    end,
    ?assertEqual({badrpc, nodedown}, echo(Client, Node)),
    Again = Start(Port),
    wait(fun() -> echo(Client, Node) =:= Node end),
    ok = gen_rpc_test_node:stop(Again).

never_returns(Client, Node) ->
    call(Client, gen_rpc, call, [Node, timer, sleep, [infinity], ?LONG]).

served(Server) ->
    lists:sum([Served || #{served := Served} <- gen_rpc_test_node:acceptors(Server)]).

%% An end that both agree on is no loss: no line on either side.
idle_connection_closes(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, [], [], [{client_inactivity_timeout, 100}], []),
    ?assertEqual(Node, echo(Client, Node)),
    wait(fun() -> call(Client, gen_rpc, nodes, []) =:= [] end),
    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end),
    {Client2, Server2} = restart(Config, [], [], [], [{server_inactivity_timeout, 100}]),
    ?assertEqual(Node, echo(Client2, Node)),
    wait(fun() -> call(Client2, gen_rpc, nodes, []) =:= [] end),
    wait(fun() -> gen_rpc_test_node:acceptors(Server2) =:= [] end),
    [?assertEqual([], gen_rpc_test_events:ours(N)) || N <- [Client, Server]].

%% Who says goodbye (close_notify) has closed; who just vanishes was perhaps cut off by a third.
truncated_and_closed_are_told_apart(Config) ->
    {_, #{ssl_port := Port} = Server} = restart(Config, [], []),
    [begin
         ok = gen_rpc_test_events:clear(Server),
         Program0 = gen_rpc_test_tls:s_client(Port, identity(Config, client), interactive),
         {Program, _} = gen_rpc_test_tls:read_until(Program0, "Verify return code: 0 \\(ok\\)"),
         ok = End(Program),
         ?assertMatch([#{reason := Reason}], lines(Server, "peer refused", 1))
     end || {End, Reason} <- [{fun(P) -> gen_rpc_test_tls:type(P, "Q\n") end, closed},
                              {fun gen_rpc_test_tls:stop/1, {tls, truncated}}]].

%% A bit that was changed on the way ends the connection: nobody takes such a record for a message.
bit_flipped(Config) ->
    [begin
         {Client, #{node := Node, ssl_port := Port} = Server} = restart(Config, [], []),
         Proxy = gen_rpc_test_tls:start_flipper(Port),
         _ = client_to(Config, Node, gen_rpc_test_tls:flipper_port(Proxy)),
         ?assertEqual(Node, echo(Client, Node)),
         Waiting = gen_rpc_test_task:start(fun() -> never_returns(Client, Node) end),
         wait(fun() -> served(Server) =:= 1 end),
         ok = gen_rpc_test_tls:flip(Proxy, Direction),
         ?assertEqual({badtcp, {tls, Mine}}, echo(Client, Node)),
         ?assertEqual({badtcp, {tls, Mine}}, gen_rpc_test_task:result(Waiting)),
         ?assertMatch([#{reason := {tls, Yours}}], lines(Server, "incoming connection lost", 1)),
         ?assertEqual(Node, echo(Client, Node)),
         ok = gen_rpc_test_tls:stop_flipper(Proxy)
     end || {Direction, Mine, Yours} <-
                [{to_server, {alert, bad_record_mac}, bad_record},
                 {to_client, bad_record, {alert, bad_record_mac}}]].

%% A handshake that is cut at any byte is an error, and the next one works.
reset_in_handshake(Config) ->
    {_, #{node := Node, ssl_port := Port}} = restart(Config, [], []),
    [begin
         Proxy = gen_rpc_test_proxy:start(Port),
         Client = client_to(Config, Node, gen_rpc_test_proxy:port(Proxy)),
         ok = gen_rpc_test_proxy:reset_after(Proxy, Direction, Bytes),
         ?assertMatch({Direction, Bytes, {Error, _}} when Error =:= badrpc; Error =:= badtcp,
                      {Direction, Bytes, echo(Client, Node)}),
         wait(fun() -> echo(Client, Node) =:= Node end),
         ok = gen_rpc_test_proxy:stop(Proxy)
     end || Direction <- [to_server, to_client], Bytes <- [0, 1, 5, 60, 500, 800, 1000]].

%%% Many

%% After a thousand handshakes that failed, in each of the ways there are, the server is as before:
%% ports, descriptors, processes, and memory.
thousand_failed_handshakes(Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), "thousand"),
    Foreign = gen_rpc_test_certs:authority(Dir, "foreign", []),
    Cert = gen_rpc_test_certs:node(Foreign, name(Config, client), []),
    Patient = gen_rpc_test_tls:patient(),
    {Client, #{ssl_port := Port} = Server} =
        restart(Config, options(Cert#{cacertfile := root(Config)}), [], Patient, Patient),
    Round = fun() -> hundred_failures(Config, Client, Server, Port) end,
    [ok = Round() || _ <- [1, 2, 3]],
    Before = [gen_rpc_test_node:resources(N) || N <- [Client, Server]],
    Memory = [resident(N) || N <- [Client, Server]],
    [ok = Round() || _ <- lists:seq(1, 10)],
    [?assertEqual(ok, gen_rpc_test_node:expect_resources(N, Was))
     || {N, Was} <- lists:zip([Client, Server], Before)],
    ?assertEqual([], grown([Client, Server], Memory)).

hundred_failures(Config, Client, #{node := Node} = Server, Port) ->
    #{ports := Ports} = gen_rpc_test_node:resources(Server),
    Expected = {badtcp, {tls, heard(Config, unknown_ca)}},
    [Expected] = lists:usort(run(Client, fun() -> call_keys(Node, 40) end)),
    Hello = hello(Config),
    Sockets = [send(Port, Bytes) || Bytes <- [<<>>, <<"garbage">>, <<22, 3, 1, 16#FFFF:16>>, Hello,
                                              gen_rpc_test_tls:client_hello(16#0301),
                                              [Hello, <<22, 3, 3, 0, 7, 11, 3:24, 0:24>>]],
                                    _ <- lists:seq(1, 10)],
    [{ok, <<22>>} = gen_tcp:recv(Socket, 1, ?LONG) || Socket <- lists:sublist(Sockets, 31, 10)],
    lists:foreach(fun gen_tcp:close/1, Sockets),
    wait(fun() -> Ports =:= maps:get(ports, gen_rpc_test_node:resources(Server)) end).

%% After a thousand connections over TLS both nodes are as before.
thousand_connections(Config) ->
    Patient = gen_rpc_test_tls:patient(),
    {Client, #{node := Node} = Server} =
        restart(Config, [], [], [{client_inactivity_timeout, 100} | Patient], Patient),
    Round = fun() ->
                    [Node] = lists:usort(run(Client, fun() -> call_keys(Node, 100) end)),
                    wait(fun() -> call(Client, ets, info, [gen_rpc_registry, size]) =:= 0 end),
                    wait(fun() -> gen_rpc_test_node:acceptors(Server) =:= [] end)
            end,
    [ok = Round() || _ <- [1, 2, 3]],
    Before = [gen_rpc_test_node:resources(N) || N <- [Client, Server]],
    Memory = [resident(N) || N <- [Client, Server]],
    [ok = Round() || _ <- lists:seq(1, 10)],
    [?assertEqual(ok, gen_rpc_test_node:expect_resources(N, Was))
     || {N, Was} <- lists:zip([Client, Server], Before)],
    ?assertEqual([], grown([Client, Server], Memory)).

%% mbedTLS allocates by itself, so what the system has given is what counts, bytes.
resident(Node) ->
    call(Node, gen_rpc_test_node, system_memory, []).

grown(Nodes, Before) ->
    [{Node, Grown} || {#{node := Node} = N, Was} <- lists:zip(Nodes, Before),
                      Grown <- [resident(N) - Was], Grown > ?NOISE].

%%% Helpers

tls(Config) -> proplists:get_value(tls, Config).

ca(Config) -> maps:get(ca, tls(Config)).

root(Config) -> maps:get(cacertfile, ca(Config)).

version(Config) -> proplists:get_value(version, Config).

name(Config, Role) ->
    #{pair := {#{node := Client}, #{node := Server}}} = tls(Config),
    case Role of
        client -> Client;
        server -> Server
    end.

%% Options with the certificate that examples/make-certs has made.
good(Config, Role) ->
    options(maps:get(Role, tls(Config))).

%% Options with one that differs.
node_cert(Config, Role, Options) ->
    options(gen_rpc_test_certs:node(ca(Config), name(Config, Role), Options)).

restart(Config, ClientOptions, ServerOptions) ->
    restart(Config, ClientOptions, ServerOptions, [], []).

%% What is not in the options is as in the good ones.
restart(Config, ClientOptions, ServerOptions, ClientSettings, ServerSettings) ->
    gen_rpc_test_tls:restart(tls(Config), completed(Config, client, ClientOptions),
                             completed(Config, server, ServerOptions),
                             ClientSettings ++ once(), ServerSettings).

completed(Config, Role, Options) ->
    Options ++ proplists:get_value(forced, Config) ++
        case proplists:is_defined(certfile, Options) of
            true -> [];
            false -> good(Config, Role)
        end.

%% The client, restarted with the way to a port of TLS on loopback.
client_to(Config, Node, Port) ->
    client_to(Config, Node, {ssl, Port}, []).

client_to(Config, Node, Way, Options) ->
    #{pair := {Client0, _}} = tls(Config),
    Client = gen_rpc_test_node:restart_app(
               Client0, [{client_config_per_node, {internal, #{Node => Way}}},
                         {ssl_client_options, completed(Config, client, Options)} | once()]),
    %% Until it stopped, it may have tried the way of before once more.
    ok = gen_rpc_test_events:clear(Client),
    Client.

%% No more attempts than calls, so that it is known how many lines there will be.
once() ->
    [{reconnect_backoff_max, 0}].

%% The server refuses the client for a reason, and the client hears of it.
refused_client(Config, Mine, Yours, Reason, Alert) ->
    refused(Config, Mine, Yours, heard(Config, Alert), Reason).

%% What a client hears of an alert by which a server refuses its certificate. With TLS 1.3 mbedTLS
%% seals it so that the client can't read it, and knows only that it was refused.
heard(Config, Alert) ->
    case version(Config) of
        'tlsv1.2' -> {alert, Alert};
        'tlsv1.3' -> handshake_failed
    end.

%% The client refuses the server.
refused_server(Config, Mine, Yours, Reason, Alert) ->
    refused(Config, Mine, Yours, Reason, {alert, Alert}).

refused(Config, Mine, Yours, ClientReason, ServerReason) ->
    {Client, #{node := Node} = Server} = restart(Config, Mine, Yours),
    Label = {Mine, Yours},
    ?assertEqual({Label, {badtcp, {tls, ClientReason}}}, {Label, echo(Client, Node)}),
    [#{node := Node, reason := {tls, ClientReason}, address := "127.0.0.1", why := Why1}] =
        lines(Client, "cannot connect", 1),
    ?assertMatch({Label, [#{reason := {tls, ServerReason}, address := "127.0.0.1", port := _,
                            why := _}]}, {Label, lines(Server, "peer refused", 1)}),
    [#{why := Why2}] = lines(Server, "peer refused"),
    [?assert(io_lib:printable_latin1_list(Why) andalso length(Why) > 10, Why)
     || Why <- [Why1, Why2]],
    ?assertEqual([], call(Client, gen_rpc, nodes, [])),
    ?assertEqual([], gen_rpc_test_node:acceptors(Server)).

%% The first message of a client of the group's version.
hello(Config) ->
    gen_rpc_test_tls:client_hello(case version(Config) of
                                      'tlsv1.2' -> 16#0303;
                                      'tlsv1.3' -> 16#0304
                                  end).

%% What openssl has to say of a connection that the server ends.
stranger(Port, Arguments) ->
    {_, Output} = gen_rpc_test_tls:end_of(gen_rpc_test_tls:s_client(Port, Arguments, interactive)),
    Output.

%% With TLS 1.3 it can't be read: see heard/2.
has_alert(Config, Output, Alert) ->
    string:find(Output, "alert " ++ Alert) =/= nomatch orelse
        version(Config) =:= 'tlsv1.3' andalso string:find(Output, "bad record mac") =/= nomatch.

%% The reasons of TLS in the lines of the server, once there are so many.
refusals(Server, N) ->
    [Reason || #{reason := {tls, Reason}, address := "127.0.0.1", port := _, why := [_ | _]}
                   <- lines(Server, "peer refused", N)].

identity(Config, Role) ->
    identity(maps:get(Role, tls(Config))).

%% Arguments of s_client and s_server that are like the options of a node.
identity(#{certfile := Cert, keyfile := Key, cacertfile := Root}) ->
    ["-cert", Cert, "-key", Key, "-CAfile", Root].

%% What the node that is reached calls itself.
echo(From, Dest) ->
    call(From, gen_rpc, call, [Dest, erlang, node, [], ?LONG]).

%% On a node: calls over N connections that are all made at once.
call_keys(Node, N) ->
    Tasks = gen_rpc_test_task:start(
              N, fun(Key) -> gen_rpc:call({Node, Key}, erlang, node, [], ?LONG) end),
    gen_rpc_test_task:results(Tasks).

%% On a node: ends the connection to a destination.
drop(Dest) ->
    {ok, Owner} = gen_rpc_registry:client(Dest),
    supervisor:terminate_child(gen_rpc_client_sup, Owner).

negotiated(Client, Dest) ->
    maps:get(tls, gen_rpc_test_node:connection(Client, Dest)).

send(Port, Bytes) ->
    Socket = gen_rpc_test_stranger:connect(Port),
    _ = gen_tcp:send(Socket, Bytes), % some are refused before they are all sent
    Socket.

is_closed(Socket) ->
    Closed = gen_rpc_test_stranger:is_closed(Socket),
    ok = gen_tcp:close(Socket),
    Closed.

contains(Text, Part) ->
    ?assertNotEqual({Part, nomatch}, {Part, string:find(Text, Part)}).
