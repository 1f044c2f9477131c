%% SPDX-License-Identifier: Apache-2.0
%% TLS in the driver, from its ports alone: configurations, handshakes on threads of the driver's own
%% that outlive what they are for, and records beside events of the port.
-module(gen_rpc_tls_port_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([other_library/1, configuration_lives_with_its_port/1, configuration_in_use_stays/1, wrong_options/1,
         unknown_configuration/1, roles_mixed_up/1, round_trips/1, many_at_once/1, credit/1,
         closed_in_handshake/1, owner_dies_in_handshake/1, unloaded_in_handshake/1,
         handshake_out_of_time/1, computed_elsewhere/1, goodbye/1, cut_off/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).
-import(gen_rpc_test_ports, [settings/0, listen/1, make_tls_pair/2, tls/1, tls_options/2, close/1,
                             tag/1, next/0, unflushed/0, down/1, round_trip/3, take_requests/2,
                             forget_messages/0]).

-define(LOOPBACK, {127, 0, 0, 1}).
-define(LONG, 60000).

%% What a thread of the pool that is started later may take, all of them together, bytes. One session
%% that is forgotten takes two thousand.
-define(THREADS, 50000).

%% The seed makes every run the same.
-define(SEED, {1, 2, 3}).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [other_library, configuration_lives_with_its_port, configuration_in_use_stays, wrong_options,
     unknown_configuration, roles_mixed_up, round_trips, many_at_once, credit, closed_in_handshake,
     owner_dies_in_handshake, unloaded_in_handshake, handshake_out_of_time, computed_elsewhere,
     goodbye, cut_off].

init_per_suite(Config) ->
    Node = gen_rpc_test_node:keep(gen_rpc_test_node:start([{tcp_server_port, false}])),
    ok = gen_rpc_test_ports:load_tls(Node, proplists:get_value(priv_dir, Config)),
    [{node, Node} | Config].

end_per_suite(Config) ->
    gen_rpc_test_node:stop(proplists:get_value(node, Config)).

init_per_testcase(_Case, Config) ->
    Node = proplists:get_value(node, Config),
    [{before, gen_rpc_test_node:resources(Node)} | Config].

end_per_testcase(_Case, Config) ->
    Node = proplists:get_value(node, Config),
    Before = proplists:get_value(before, Config),
    gen_rpc_test_node:expect_resources(Node, Before).

%% Runs a case on the node, in one process that owns all its ports.
on_node(Config, Case) ->
    run(proplists:get_value(node, Config), Case).

%%% The library

%% With another series of mbedTLS than it was built for the driver does not load, and the error says
%% so. The library here only claims to be another one.
other_library(Config) ->
    Dir = proplists:get_value(priv_dir, Config),
    [Source, Library] = [filename:join(Dir, "liar." ++ Extension) || Extension <- ["c", "so"]],
    ok = file:write_file(Source, "unsigned int mbedtls_version_get_number(void)\n"
                                 "{ return 0x02070000; }\n"),
    "" = os:cmd("cc -shared -fPIC -o '" ++ Library ++ "' '" ++ Source ++ "'"),
    {ok, Peer, _} = peer:start_link(#{connection => standard_io, env => [{"LD_PRELOAD", Library}],
                                      args => ["-pa" | code:get_path()]}),
    {error, Reason} = peer:call(Peer, gen_rpc_port, load, []),
    ?assertNotEqual(nomatch, string:find(Reason, "mbedTLS")),
    ok = peer:stop(Peer).

%%% Configurations

%% Each has a number of its own, and none is left in memory when its port is closed.
configuration_lives_with_its_port(Config) ->
    on_node(
      Config,
      fun() ->
              Memory = gen_rpc_test_node:local_driver_memory(),
              Loaded = [begin
                            Port = gen_rpc_port:open(),
                            {ok, Number, true} = gen_rpc_port:load_tls(Port, options(Role)),
                            {Port, Number}
                        end || _ <- lists:seq(1, 50), Role <- [client, server]],
              {Ports, Numbers} = lists:unzip(Loaded),
              ?assertEqual(length(Numbers), length(lists:usort(Numbers))),
              close(Ports),
              wait(fun() -> gen_rpc_test_node:local_driver_memory() < Memory + 10000 end)
      end).

%% A connection keeps its configuration when the port that loaded it is closed.
configuration_in_use_stays(Config) ->
    on_node(
      Config,
      fun() ->
              [{Port1, Number1}, {Port2, Number2}] = [load(Role) || Role <- [client, server]],
              {Listener, Client, Server} = make_tls_pair(#{tls => Number1}, #{tls => Number2}),
              ok = gen_rpc_port:activate(Server),
              close([Port1, Port2]),
              ?assertEqual(<<"x">>, round_trip(Client, Server, <<"x">>)),
              close([Client, Server, Listener])
      end).

%% What cannot be loaded is told by its option and in words, and the port can try again.
wrong_options(Config) ->
    on_node(
      Config,
      fun() ->
              Port = gen_rpc_port:open(),
              [begin
                   {error, {Option, Why}} = gen_rpc_port:load_tls(Port, tls_options(server, Wrong)),
                   ?assert(io_lib:printable_latin1_list(Why) andalso Why =/= "")
               end || {Option, Wrong} <-
                          [{certfile, #{certfile => <<>>}},
                           {certfile, #{certfile => <<"no certificate">>}},
                           {keyfile, #{keyfile => <<>>}},
                           {keyfile, #{keyfile => <<0:800>>}},
                           {cacertfile, #{cacertfile => <<>>}},
                           {cacertfile, #{cacertfile => <<"-----BEGIN CERTIFICATE-----\n">>}},
                           {dhfile, #{dhfile => <<"no parameters">>}},
                           {crlfile, #{crlfile => <<"no list">>}},
                           {ciphers, #{ciphers => <<"AES128-SHA">>}},
                           {versions, #{versions => {13, 12}}},
                           {versions, #{versions => {11, 12}}},
                           {versions, #{versions => {12, 14}}}]],
              {ok, _, true} = gen_rpc_port:load_tls(Port, options(server)),
              {error, closed} = gen_rpc_port:load_tls(Port, options(server)),
              {ok, _, false} = gen_rpc_port:load_tls(Other = gen_rpc_port:open(),
                                                     (options(server))#{node => <<"other">>}),
              close([Port, Other])
      end).

%% A number that no configuration has, or has no longer, makes no connection.
unknown_configuration(Config) ->
    on_node(
      Config,
      fun() ->
              {Port, Number} = load(server),
              close([Port]),
              {Listener, Client, Server} = half_open(tls(client)),
              [?assertEqual(down, gen_rpc_port:handshake(Server, (settings())#{tls => Wrong}))
               || Wrong <- [Number, 1 bsl 64 - 1]],
              close([Client, Server, Listener]),
              ?assertEqual({error, no_such_tls_configuration}, connect(#{tls => Number}))
      end).

%% A configuration of the other role is none.
roles_mixed_up(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = half_open(tls(client)),
              ?assertEqual(down, gen_rpc_port:handshake(Server, maps:merge(settings(),
                                                                           tls(client)))),
              close([Client, Server, Listener]),
              ?assertEqual({error, no_such_tls_configuration}, connect(tls(server)))
      end).

%%% Data

%% Bodies of every size around those of records, frames and buffers come through unchanged.
round_trips(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = make_tls_pair(#{}, #{}),
              ok = gen_rpc_port:activate(Server),
              Sizes = [Near + Off || Near <- [0, 4096, 16384, 32768, 49152, 65536, 131072, 1000000],
                                     Off <- [-33, -16, -1, 0, 1, 16, 33], Near + Off >= 0],
              [begin
                   Body = rand:bytes(Size),
                   ?assertEqual({Size, true}, {Size, Body =:= round_trip(Client, Server, Body)})
               end || Size <- Sizes],
              #{tls := #{version := Version}} = gen_rpc_port:info(Client),
              ?assertMatch(#{tls := #{version := Version}}, gen_rpc_port:info(Server)),
              close([Client, Server, Listener])
      end).

%% Thousands of calls and a few large ones under way together: each gets its own answer.
many_at_once(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = make_tls_pair(#{}, #{}),
              ok = gen_rpc_port:activate(Server),
              Large = rand:bytes(300000),
              Calls = [{Id, make_ref(), body(Id, Large)} || Id <- lists:seq(1, 3000)],
              [ok = gen_rpc_port:call(Client, Id, infinity, tag(Ref), [Body])
               || {Id, Ref, Body} <- Calls],
              {_, Requests} = take_requests(Server, length(Calls)),
              [ok = gen_rpc_port:reply(Server, Id, tag(make_ref()), [Body])
               || {Id, Body} <- Requests],
              [?assertEqual({Id, true}, {Id, Body =:= answer(Ref)}) || {Id, Ref, Body} <- Calls],
              close([Client, Server, Listener])
      end).

body(Id, Large) when Id rem 500 =:= 0 -> <<Id:32, Large/binary>>;
body(Id, _Large) -> <<Id:32>>.

answer(Ref) ->
    receive
        {Ref, Body} -> Body;
        {Port, flush} -> ok = gen_rpc_port:flush(Port), answer(Ref)
    after 10000 ->
        error(no_answer)
    end.

%% Requests that were decrypted but not delivered, because the acceptor gives no credit, are delivered
%% when it does, without any further byte from the peer.
credit(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = make_tls_pair(#{}, #{}),
              ok = gen_rpc_port:activate(Server),
              Body = rand:bytes(100),
              Count = 20000,
              [cast(Client, Id, Body) || Id <- lists:seq(1, Count)],
              wait(fun() ->
                           receive
                               {Port, flush} -> ok = gen_rpc_port:flush(Port), false
                           after 100 -> true
                           end
                   end),
              {_, Casts} = take_requests(Server, Count),
              ?assertEqual([{0, Body}], lists:usort(Casts)),
              close([Client, Server, Listener])
      end).

cast(Client, Id, Body) ->
    case gen_rpc_port:cast(Client, Id, infinity, <<>>, [Body]) of
        ok -> ok;
        busy ->
            receive {Port, flush} -> ok = gen_rpc_port:flush(Port) after 1 -> ok end,
            cast(Client, Id, Body)
    end.

%%% Handshakes

%% Ports that are closed at any moment of the handshake, on either side, leave nothing behind, though
%% a thread may be at work for them. The next connection is made as if nothing had been.
closed_in_handshake(Config) ->
    on_node(
      Config,
      fun() ->
              rand:seed(exsss, ?SEED),
              Memory = used_memory(),
              [begin
                   {Listener, Client, Server} = begin_pair(),
                   ok = flush_for(rand:uniform(12) - 1),
                   close(case rand:uniform(2) of
                             1 -> [Client, Server, Listener];
                             2 -> [Server, Client, Listener]
                         end),
                   ok = forget_messages()
               end || _ <- lists:seq(1, 200)],
              {Listener, Client, Server} = make_tls_pair(#{}, #{}),
              close([Client, Server, Listener]),
              wait(fun() -> gen_rpc_test_node:local_driver_memory() < Memory + ?THREADS end)
      end).

%% The same when the owner is killed.
owner_dies_in_handshake(Config) ->
    on_node(
      Config,
      fun() ->
              Memory = used_memory(),
              [begin
                   {Owner, Monitor} =
                       spawn_monitor(fun() -> _ = begin_pair(), flush_for(infinity) end),
                   receive after rand:uniform(10) - 1 -> ok end,
                   true = exit(Owner, kill),
                   receive {'DOWN', Monitor, process, Owner, _} -> ok end
               end || _ <- lists:seq(1, 100)],
              wait(fun() -> gen_rpc_test_node:local_driver_memory() < Memory + ?THREADS end)
      end).

%% What the driver has allocated when handshakes have been made: threads and tables are there then.
used_memory() ->
    Pairs = [begin_pair() || _ <- lists:seq(1, 10)],
    ok = flush_for(100),
    [close(tuple_to_list(Pair)) || Pair <- Pairs],
    ok = forget_messages(),
    {Listener, Client, Server} = make_tls_pair(#{}, #{}),
    close([Client, Server, Listener]),
    gen_rpc_test_node:local_driver_memory().

%% A configuration that is unloaded while handshakes use it serves these to their end.
unloaded_in_handshake(Config) ->
    on_node(
      Config,
      fun() ->
              [{Port1, Number1}, {Port2, Number2}] = [load(Role) || Role <- [client, server]],
              {Listener, Client, Server} = half_open(#{tls => Number1}),
              ok = gen_rpc_port:handshake(Server, (settings())#{tls => Number2}),
              close([Port1, Port2]),
              [_, _] = [{_, up, _, _} = unflushed() || _ <- [1, 2]],
              close([Client, Server, Listener])
      end).

%% The time limit is for both handshakes together, TLS and ours.
handshake_out_of_time(Config) ->
    on_node(
      Config,
      fun() ->
              Impatient = #{authentication_timeout => 100},
              {Listener, Number} = listen(10),
              {Client, Server} = half_open(Listener, Number, maps:merge(tls(client), Impatient)),
              ?assertEqual(authentication_timeout, down(Client)),
              close([Client, Server]),
              {ok, Silent} = gen_tcp:connect(?LOOPBACK, Number, []),
              {Listener, accepted, Late, _} = next(),
              ok = gen_rpc_port:handshake(Late, maps:merge(maps:merge(settings(), tls(server)),
                                                           Impatient)),
              ?assertEqual(authentication_timeout, down(Late)),
              close([Late, Silent, Listener])
      end).

%% What a handshake computes is computed on threads of the driver's own, so that no scheduler waits
%% for it: that is where the CPU time goes.
computed_elsewhere(Config) ->
    on_node(
      Config,
      fun() ->
              [{Port1, Number1}, {Port2, Number2}] =
                  [load(Role, #{session_tickets => false}) || Role <- [client, server]],
              Before = pool_ticks(),
              [begin
                   {Listener, Client, Server} =
                       make_tls_pair(#{tls => Number1}, #{tls => Number2}),
                   ?assertMatch(#{tls := #{resumed := false}}, gen_rpc_port:info(Client)),
                   close([Client, Server, Listener]),
                   ok = forget_messages()
               end || _ <- lists:seq(1, 50)],
              %% Some 8 ms for one, in both roles; a tick is 10 ms.
              ?assert(pool_ticks() - Before >= 10),
              close([Port1, Port2])
      end).

%% CPU time of all threads of the pool, in ticks of the system.
pool_ticks() ->
    lists:sum([ticks(Task) || Task <- filelib:wildcard("/proc/self/task/*"),
                              {ok, <<"gen_rpc_pool", _/binary>>} <-
                                  [file:read_file(Task ++ "/comm")]]).

%% The name of the thread stands in brackets, and the first field behind it is the third.
ticks(Task) ->
    {ok, Stat} = file:read_file(Task ++ "/stat"),
    [_, Fields] = string:split(Stat, ") ", trailing),
    {User, System} = {lists:nth(12, string:lexemes(Fields, " ")),
                      lists:nth(13, string:lexemes(Fields, " "))},
    binary_to_integer(User) + binary_to_integer(System).

%%% The end

%% A graceful close is one for both sides: what is under way is done, and nobody calls it truncated.
goodbye(Config) ->
    on_node(
      Config,
      fun() ->
              [begin
                   {Listener, Client, Server} = make_tls_pair(#{}, #{}),
                   ok = gen_rpc_port:activate(Server),
                   Ref = make_ref(),
                   ok = gen_rpc_port:call(Client, 1, infinity, tag(Ref), [Large]),
                   ok = gen_rpc_port:goodbye(Client, ?LONG, always),
                   {_, [{1, Large}]} = take_requests(Server, 1),
                   ok = gen_rpc_port:reply(Server, 1, tag(make_ref()), [Large]),
                   ?assert(Large =:= answer(Ref)),
                   ?assertEqual(normal, down(Client)),
                   ?assertEqual(normal, down(Server)),
                   close([Client, Server, Listener]),
                   ok = forget_messages()
               end || Large <- [<<"x">>, rand:bytes(1000000)]]
      end).

%% A port that is closed without a goodbye still says that nothing more will come, so the peer knows
%% that nobody has cut the connection.
cut_off(Config) ->
    on_node(
      Config,
      fun() ->
              {Listener, Client, Server} = make_tls_pair(#{}, #{}),
              ok = gen_rpc_port:close(Server),
              ?assertEqual(closed, down(Client)),
              close([Client, Listener])
      end).

%%% Helpers

options(Role) -> tls_options(Role, #{}).

load(Role) ->
    load(Role, #{}).

load(Role, Changes) ->
    Port = gen_rpc_port:open(),
    {ok, Number, true} = gen_rpc_port:load_tls(Port, tls_options(Role, Changes)),
    {Port, Number}.

%% A client that connects over TLS, and the port that has accepted it and does nothing yet.
half_open(ClientSettings) ->
    {Listener, Number} = listen(10),
    {Client, Server} = half_open(Listener, Number, ClientSettings),
    {Listener, Client, Server}.

half_open(Listener, Number, ClientSettings) ->
    Client = gen_rpc_port:open(),
    ok = gen_rpc_port:connect(Client, {?LOOPBACK, Number}, ?LONG,
                              maps:merge((settings())#{target => <<"server">>}, ClientSettings)),
    {Listener, accepted, Server, _} = accepted(Listener),
    {Client, Server}.

%% What the command says when it is not even tried.
connect(ClientSettings) ->
    Port = gen_rpc_port:open(),
    Result = gen_rpc_port:connect(Port, {?LOOPBACK, 1}, ?LONG,
                                  maps:merge((settings())#{target => <<"server">>},
                                             ClientSettings)),
    close([Port]),
    Result.

accepted(Listener) ->
    receive {Listener, accepted, _, _} = Message -> Message after 10000 -> error(not_accepted) end.

begin_pair() ->
    {Listener, Client, Server} = half_open(tls(client)),
    ok = gen_rpc_port:handshake(Server, maps:merge(settings(), tls(server))),
    {Listener, Client, Server}.

%% Does what an owner does for so many milliseconds.
flush_for(Time) ->
    receive
        {Port, flush} -> ok = gen_rpc_port:flush(Port), flush_for(Time)
    after Time ->
        ok
    end.
