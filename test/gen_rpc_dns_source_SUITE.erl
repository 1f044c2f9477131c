%% SPDX-License-Identifier: Apache-2.0
%% Ways to nodes by SRV records of a real name server, dnsmasq on loopback.
-module(gen_rpc_dns_source_SUITE).

-behaviour(ct_suite).

-include_lib("proper/include/proper.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([names/1, order_by_weight/1, order_is_by_priority/1]).
-export([record_of_the_node/1, record_of_the_host/1, record_of_the_node_counts_first/1,
         service_of_the_driver/1, next_target_if_the_first_is_down/1, keys/1]).
-export([no_record/1, no_service/1, refused/1, no_name_server/1, silent_name_server/1,
         node_without_host/1]).
-export([kept_for_its_time/1, looked_up_when_it_is_over/1, nothing_kept_without_time/1,
         not_kept_for_ever/1, old_ones_are_removed/1, looked_up_after_a_failed_attempt/1,
         errors_are_not_kept/1]).

-import(gen_rpc_test_node, [call/4, run/2, wait/1]).
-import(gen_rpc_test_pair, [lines/2]).

%% Longer than any test: a wait with this limit ends for another reason, or not at all.
-define(LONG, 60000).

-define(HOST, "db.gen-rpc.test").
-define(SOURCE, {client_config_per_node, {external, gen_rpc_dns_source}}).
-define(DAY, 86400000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, pure}, {group, records}, {group, failures}, {group, time_to_live}].

groups() ->
    [{pure, [], [names, order_by_weight, order_is_by_priority]},
     {records, [], [record_of_the_node, record_of_the_host, record_of_the_node_counts_first,
                    service_of_the_driver, next_target_if_the_first_is_down, keys]},
     {failures, [], [no_record, no_service, refused, no_name_server, silent_name_server,
                     node_without_host]},
     {time_to_live, [], [kept_for_its_time, looked_up_when_it_is_over, nothing_kept_without_time,
                         not_kept_for_ever, old_ones_are_removed, looked_up_after_a_failed_attempt,
                         errors_are_not_kept]}].

init_per_suite(Config) ->
    case gen_rpc_test_daemon:is_installed("dnsmasq") of
        true -> start(Config);
        false -> {skip, "no dnsmasq"}
    end.

%% The client asks that name server and no other one, for addresses too.
start(Config) ->
    {Client, _} = Pair = gen_rpc_test_pair:start([], [{host, ?HOST}]),
    Number = gen_rpc_test_node:free_port(),
    ok = run(Client, fun() ->
                             ok = inet_db:set_resolv_conf(""),
                             ok = inet_db:set_lookup([file, dns]),
                             inet_db:add_ns({127, 0, 0, 1}, Number)
                     end),
    [{pair, Pair}, {dns, Number} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(proplists:get_value(pair, Config)).

%% The name server of the case before may still be on its way out.
init_per_testcase(_Case, Config) ->
    wait(fun() -> is_free(proplists:get_value(dns, Config)) end),
    Config.

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(proplists:get_value(pair, Config)).

restart(Config) ->
    restart(Config, []).

restart(Config, Settings) ->
    gen_rpc_test_pair:restart(proplists:get_value(pair, Config), [?SOURCE | Settings], []).

%%% Pure

%% The name of the node before that of its host; another service for TLS.
names(_Config) ->
    ?assertEqual(["_gen-rpc._tcp.a.b.example", "_gen-rpc._tcp.b.example"],
                 gen_rpc_srv:names(tcp, 'a@b.example')),
    ?assertEqual(["_gen-rpcs._tcp.a.b.example", "_gen-rpcs._tcp.b.example"],
                 gen_rpc_srv:names(ssl, 'a@b.example')),
    [?assertEqual([], gen_rpc_srv:names(tcp, Name)) || Name <- [a, 'a@', '@b', '']].

%% Over all numbers that chance can give, each record is first as often as its weight says. There is
%% one number more, for one without weight, or the lightest.
order_by_weight(_Config) ->
    First = fun(Weights) ->
                    Records = [{1, Weight, Port, "host"} || {Port, Weight} <- Weights],
                    Sum = lists:sum([Weight || {_, Weight} <- Weights]),
                    Orders = [gen_rpc_srv:order(Records, fun(N) -> min(N, Number) end)
                              || Number <- lists:seq(1, Sum + 1)],
                    [length([x || [{_, _, P, _} | _] <- Orders, P =:= Port])
                     || {Port, _} <- Weights]
            end,
    ?assertEqual([30, 10 + 1, 20], First([{1, 30}, {2, 10}, {3, 20}])),
    ?assertEqual([5, 1], First([{1, 5}, {2, 0}])),
    ?assertEqual([1, 0], First([{1, 0}, {2, 0}])),
    ?assertEqual([65536], First([{1, 65535}])).

order_is_by_priority(_Config) ->
    ?assert(proper:quickcheck(prop_order(), [quiet, {numtests, 1000}])).

%% Whatever chance says: the same records, sorted by priority.
prop_order() ->
    Number = oneof([range(0, 3), range(0, 65535)]),
    ?FORALL({Records, Seed}, {list({Number, Number, range(1, 65535), "host"}), range(1, 1 bsl 40)},
            begin
                Ordered = gen_rpc_srv:order(Records, fun(N) -> 1 + Seed rem N end),
                Priorities = [Priority || {Priority, _, _, _} <- Ordered],
                lists:sort(Ordered) =:= lists:sort(Records)
                    andalso Priorities =:= lists:sort(Priorities)
            end).

%%% Records

%% A record of a node says where it is, whatever its host and port.
record_of_the_node(Config) ->
    {Client, #{port := Port} = Server} = restart(Config),
    _ = dns(Config, [record(Server, "one", Port)], 60),
    ?assertEqual(node_of(Server), echo(Client, node_of(Server))),
    ?assertEqual([], gen_rpc_test_events:ours(Client)).

%% One of its host is for all nodes there that have none of their own.
record_of_the_host(Config) ->
    {Client, #{port := Port} = Server} = restart(Config),
    _ = dns(Config, [srv("_gen-rpc._tcp." ++ ?HOST, "one", Port, 0, 0)], 60),
    ?assertEqual(node_of(Server), echo(Client, node_of(Server))).

record_of_the_node_counts_first(Config) ->
    {Client, #{port := Port} = Server} = restart(Config),
    Closed = gen_rpc_test_node:free_port(),
    _ = dns(Config, [srv("_gen-rpc._tcp." ++ ?HOST, "one", Closed, 0, 0),
                     record(Server, "two", Port)], 60),
    ?assertEqual([{tcp, "two.gen-rpc.test", Port}], get_config(Client, node_of(Server))),
    %% And those of the host are not added to it.
    ?assertEqual([{tcp, "one.gen-rpc.test", Closed}], get_config(Client, 'other@db.gen-rpc.test')).

%% With ssl as the default driver it is the service gen-rpcs, and nothing else.
service_of_the_driver(Config) ->
    {Client, #{port := Port} = Server} = restart(Config),
    Name = name(Server) ++ "." ++ ?HOST,
    _ = dns(Config, [record(Server, "one", Port), srv("_gen-rpcs._tcp." ++ Name, "two", 7, 0, 0)],
            60),
    ?assertEqual([{tcp, "one.gen-rpc.test", Port}], get_config(Client, node_of(Server))),
    Dir = filename:join(proplists:get_value(priv_dir, Config), "certs"),
    {ok, _} = application:ensure_all_started(crypto),
    Cert = gen_rpc_test_certs:node(gen_rpc_test_certs:new(Dir), node_of(Client)),
    _ = restart(Config, [{default_client_driver, ssl},
                         {ssl_client_options, gen_rpc_test_certs:options(Cert)}]),
    ?assertEqual([{ssl, "two.gen-rpc.test", 7}], get_config(Client, node_of(Server))).

%% The lowest priority is tried first; the others are there for when it is down.
next_target_if_the_first_is_down(Config) ->
    {Client, #{node := Node, port := Port} = Server} = restart(Config),
    [Closed1, Closed2] = [gen_rpc_test_node:free_port() || _ <- [1, 2]],
    Name = "_gen-rpc._tcp." ++ name(Server) ++ "." ++ ?HOST,
    _ = dns(Config, [srv(Name, "two", Port, 30, 0), srv(Name, "one", Closed1, 10, 0),
                     srv(Name, "nowhere", Closed2, 20, 65535)], 60),
    ?assertEqual([{tcp, "one.gen-rpc.test", Closed1}, {tcp, "nowhere.gen-rpc.test", Closed2},
                  {tcp, "two.gen-rpc.test", Port}], get_config(Client, Node)),
    ?assertEqual(Node, echo(Client, Node)),
    ?assertEqual([], gen_rpc_test_events:ours(Client)).

keys(Config) ->
    {Client, #{node := Node, port := Port} = Server} = restart(Config),
    _ = dns(Config, [record(Server, "one", Port)], 60),
    [?assertEqual(Node, echo(Client, {Node, Key})) || Key <- [1, "key", {a, b}]].

%%% Failures

no_record(Config) ->
    {Client, #{node := Node}} = restart(Config),
    _ = dns(Config, [], 60),
    ?assertEqual(failed(nxdomain), echo(Client, Node)),
    ?assertMatch([#{node := Node, reason := {external_source_error, {dns, nxdomain}}}],
                 lines(Client, "cannot connect")).

%% The root as a target is how the DNS says that there is no such service.
no_service(Config) ->
    {Client, #{node := Node} = Server} = restart(Config),
    _ = dns(Config, ["--srv-host=_gen-rpc._tcp." ++ name(Server) ++ "." ++ ?HOST], 60),
    ?assertEqual(failed(no_service), echo(Client, Node)).

%% A name server that does not want to answer says nothing about the node.
refused(Config) ->
    {Client, _} = restart(Config),
    _ = dns(Config, [], 60),
    ?assertEqual(failed(refused), echo(Client, 'a@host.of.strangers')).

no_name_server(Config) ->
    {Client, #{node := Node}} = restart(Config),
    ?assertMatch({badrpc, {external_source_error, {dns, Reason}}}
                   when Reason =:= econnrefused; Reason =:= timeout, echo(Client, Node)).

%% One that does not answer at all holds up nobody longer than connect_timeout.
silent_name_server(Config) ->
    {Client, #{node := Node}} = restart(Config, [{connect_timeout, 100}]),
    {ok, Silent} = gen_udp:open(proplists:get_value(dns, Config), [{ip, {127, 0, 0, 1}}]),
    ?assertEqual({badrpc, {external_source_error, timeout}}, echo(Client, Node)),
    ok = gen_udp:close(Silent).

node_without_host(Config) ->
    {Client, _} = restart(Config),
    ?assertEqual(failed(nxdomain), echo(Client, nohost)).

%%% Time to live

%% What was found is used without the name server, as long as it is valid.
kept_for_its_time(Config) ->
    {Client, #{node := Node, port := Port} = Server} = restart(Config),
    Dns = dns(Config, [record(Server, "one", Port)], 3600),
    ?assertEqual(Node, echo(Client, Node)),
    ok = gen_rpc_test_daemon:kill(Dns),
    [?assertEqual(Node, echo(Client, {Node, Key})) || Key <- [1, 2, 3]],
    ?assertMatch([Left] when Left > 0 andalso Left =< 3600000, lives(Client)).

%% Then the name server is asked again.
looked_up_when_it_is_over(Config) ->
    {Client, #{node := Node} = Server} = restart(Config),
    Dns = dns(Config, [record(Server, "one", 1)], 1),
    ?assertEqual([{tcp, "one.gen-rpc.test", 1}], get_config(Client, Node)),
    ok = gen_rpc_test_daemon:kill(Dns),
    _ = dns(Config, [record(Server, "two", 2)], 1),
    wait(fun() -> get_config(Client, Node) =:= [{tcp, "two.gen-rpc.test", 2}] end).

nothing_kept_without_time(Config) ->
    {Client, #{node := Node} = Server} = restart(Config),
    Dns = dns(Config, [record(Server, "one", 1)], 0),
    ?assertEqual([{tcp, "one.gen-rpc.test", 1}], get_config(Client, Node)),
    ok = gen_rpc_test_daemon:kill(Dns),
    _ = dns(Config, [record(Server, "two", 2)], 0),
    ?assertEqual([{tcp, "two.gen-rpc.test", 2}], get_config(Client, Node)).

%% A day at most.
not_kept_for_ever(Config) ->
    {Client, #{node := Node} = Server} = restart(Config),
    _ = dns(Config, [record(Server, "one", 1)], 10000000),
    ?assertEqual([{tcp, "one.gen-rpc.test", 1}], get_config(Client, Node)),
    ?assertMatch([Left] when Left > ?DAY - ?LONG andalso Left =< ?DAY, lives(Client)).

%% What is over does not stay in memory, even if nobody asks for that node again.
old_ones_are_removed(Config) ->
    {Client, #{node := Node}} = restart(Config),
    _ = dns(Config, [srv("_gen-rpc._tcp." ++ ?HOST, "one", 1, 0, 0)], 1),
    Others = ['a@db.gen-rpc.test', 'b@db.gen-rpc.test', 'c@db.gen-rpc.test'],
    [[{tcp, _, 1}] = get_config(Client, Other) || Other <- Others],
    wait(fun() -> lists:all(fun(Left) -> Left =< 0 end, lives(Client)) end),
    ?assertMatch([{tcp, _, 1}], get_config(Client, Node)),
    ?assertEqual(1, length(lives(Client))).

%% A node that is not where it should be is looked for anew by the next attempt.
looked_up_after_a_failed_attempt(Config) ->
    {Client, #{node := Node, port := Port} = Server} = restart(Config),
    Dns = dns(Config, [record(Server, "one", gen_rpc_test_node:free_port())], 3600),
    [_] = get_config(Client, Node),
    ok = gen_rpc_test_daemon:kill(Dns),
    _ = dns(Config, [record(Server, "one", Port)], 3600),
    ?assertEqual({badrpc, nodedown}, echo(Client, Node)),
    wait(fun() -> echo(Client, Node) =:= Node end),
    ?assertEqual(1, length(lines(Client, "cannot connect"))).

errors_are_not_kept(Config) ->
    {Client, #{node := Node, port := Port} = Server} = restart(Config),
    Dns = dns(Config, [], 3600),
    ?assertEqual(failed(nxdomain), echo(Client, Node)),
    ok = gen_rpc_test_daemon:kill(Dns),
    _ = dns(Config, [record(Server, "one", Port)], 3600),
    ?assertEqual(Node, echo(Client, Node)).

%%% Helpers

%% A name server that knows these records, and two hosts.
dns(Config, Records, Ttl) ->
    Number = proplists:get_value(dns, Config),
    gen_rpc_test_daemon:start(
      "dnsmasq", ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root",
                  "--no-resolv", "--no-hosts", "--local=/gen-rpc.test/", "--bind-interfaces",
                  "--listen-address=127.0.0.1", "--port=" ++ integer_to_list(Number),
                  "--local-ttl=" ++ integer_to_list(Ttl),
                  "--host-record=one.gen-rpc.test,127.0.0.1",
                  "--host-record=two.gen-rpc.test,127.0.0.1" | Records],
      fun() -> answers(Number) end).

is_free(Number) ->
    case gen_udp:open(Number, [{ip, {127, 0, 0, 1}}]) of
        {ok, Socket} -> gen_udp:close(Socket) =:= ok;
        {error, eaddrinuse} -> false
    end.

answers(Number) ->
    Options = [{nameservers, [{{127, 0, 0, 1}, Number}]}, {timeout, 100}, {retry, 1}],
    inet_res:resolve("one.gen-rpc.test", in, a, Options) =/= {error, timeout} andalso
        inet_res:lookup("one.gen-rpc.test", in, a, Options) =:= [{127, 0, 0, 1}].

record(Server, Target, Port) ->
    srv("_gen-rpc._tcp." ++ name(Server) ++ "." ++ ?HOST, Target, Port, 0, 0).

srv(Name, Target, Port, Priority, Weight) ->
    lists:concat(["--srv-host=", Name, ",", Target, ".gen-rpc.test,", Port, ",", Priority, ",",
                  Weight]).

node_of(#{node := Node}) -> Node.

name(#{node := Node}) ->
    {Name, _} = gen_rpc_dest:parts(Node),
    Name.

get_config(Client, Node) ->
    call(Client, gen_rpc_dns_source, get_config, [Node]).

failed(Reason) ->
    {badrpc, {external_source_error, {dns, Reason}}}.

%% How long what is kept is valid, ms.
lives(Client) ->
    run(Client, fun() ->
                        Now = erlang:monotonic_time(millisecond),
                        [Until - Now || {_, _, Until} <- ets:tab2list(gen_rpc_source_cache)]
                end).

%% What the node that is reached calls itself.
echo(From, Dest) ->
    call(From, gen_rpc, call, [Dest, erlang, node, [], ?LONG]).
