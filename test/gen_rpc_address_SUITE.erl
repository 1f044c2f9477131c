%% SPDX-License-Identifier: Apache-2.0
%% Addresses and ports: where a node listens, how the name of another one becomes an address and a
%% port, and the sizes of the buffers of a socket. With sockets of the kernel, on loopback.
-module(gen_rpc_address_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0, init_per_suite/1, end_per_suite/1, init_per_group/2,
         end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([every_ipv4_address_by_default/1, one_ipv4_address/1, one_ipv6_address/1,
         both_families/1, only_ipv6/1, sysctl_does_not_matter/1, address_of_nobody/1,
         mapped_address_is_shown_as_ipv4/1]).
-export([node_name_with_an_ipv6_address/1, host_with_only_an_ipv6_address/1,
         ipv6_after_ipv4/1, failure_that_says_most/1, first_of_equal_failures/1,
         ipv6_only_client/1]).
-export([sizes_are_in_force/1, sizes_of_the_system/1, window_follows_the_size/1,
         read_at_once/1]).
-export([port_of_a_name/1, three_nodes_over_tcp/1, three_nodes_over_tls/1,
         no_server_stays_none/1, other_driver_keeps_its_ports/1, way_of_a_node_wins/1,
         name_that_has_no_port/1, node_that_has_no_port/1, port_that_is_taken/1]).

-import(gen_rpc_test_node, [call/4, rpc/4, run/2]).
-import(gen_rpc_test_pair, [lines/2, lines/3]).

-define(ANY6, {0, 0, 0, 0, 0, 0, 0, 0}).
-define(LOOPBACK, {127, 0, 0, 1}).
-define(LOOPBACK6, {0, 0, 0, 0, 0, 0, 0, 1}).

%% Longer than any test, ms.
-define(LONG, 60000).

%% The kernel's TCP_INFO: a byte of it has the shifts of both windows.
-define(TCP_INFO, {raw, 6, 11, 104}).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, ipv4}, {group, ipv6}, {group, buffers}, {group, discovery}].

groups() ->
    [{ipv4, [], [every_ipv4_address_by_default, one_ipv4_address, address_of_nobody]},
     {ipv6, [], [one_ipv6_address, both_families, only_ipv6, sysctl_does_not_matter,
                 mapped_address_is_shown_as_ipv4, node_name_with_an_ipv6_address,
                 host_with_only_an_ipv6_address, ipv6_after_ipv4, failure_that_says_most,
                 first_of_equal_failures, ipv6_only_client]},
     {buffers, [], [sizes_are_in_force, sizes_of_the_system, window_follows_the_size,
                    read_at_once]},
     {discovery, [], [port_of_a_name, three_nodes_over_tcp, three_nodes_over_tls,
                      no_server_stays_none, other_driver_keeps_its_ports, way_of_a_node_wins,
                      name_that_has_no_port, node_that_has_no_port, port_that_is_taken]}].

init_per_suite(Config) ->
    [{tls, gen_rpc_test_tls:start_pair(proplists:get_value(priv_dir, Config))} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(pair(Config)).

init_per_group(ipv6, Config) ->
    case gen_tcp:listen(0, [inet6, {ip, ?LOOPBACK6}]) of
        {ok, Socket} ->
            ok = gen_tcp:close(Socket),
            Config;
        {error, Reason} ->
            {skip, "this machine has no IPv6: " ++ atom_to_list(Reason)}
    end;
init_per_group(_Group, Config) ->
    Config.

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(pair(Config)).

%%% Listening

%% Without a setting both listeners take what comes to any IPv4 address, and nothing over IPv6.
every_ipv4_address_by_default(Config) ->
    ?assertEqual(lists:duplicate(2, [taken, taken, refused]),
                 listening(Config, [], [?LOOPBACK, {127, 0, 0, 2}, ?LOOPBACK6])).

%% With one address both take what comes to this one alone.
one_ipv4_address(Config) ->
    ?assertEqual(lists:duplicate(2, [taken, refused, refused]),
                 listening(Config, [{socket_ip, {127, 0, 0, 2}}],
                           [{127, 0, 0, 2}, ?LOOPBACK, {127, 0, 0, 3}])).

%% Likewise with one of IPv6.
one_ipv6_address(Config) ->
    ?assertEqual(lists:duplicate(2, [taken, refused]),
                 listening(Config, [{socket_ip, ?LOOPBACK6}], [?LOOPBACK6, ?LOOPBACK])).

%% The IPv6 address that stands for all takes both families.
both_families(Config) ->
    ?assertEqual(lists:duplicate(2, [taken, taken, taken]),
                 listening(Config, [{socket_ip, ?ANY6}],
                           [?LOOPBACK6, ?LOOPBACK, {127, 0, 0, 2}])).

%% Unless the setting says otherwise. That alone is enough to listen on IPv6.
only_ipv6(Config) ->
    [?assertEqual({Settings, lists:duplicate(2, [taken, refused])},
                  {Settings, listening(Config, Settings, [?LOOPBACK6, ?LOOPBACK])})
     || Settings <- [[{ipv6_only, true}],
                     [{ipv6_only, true}, {socket_ip, ?ANY6}],
                     [{ipv6_only, true}, {socket_ip, ?LOOPBACK6}]]].

%% What the two listeners of a node do with connections to these addresses: {Tcp, Tls}.
listening(Config, Settings, Addresses) ->
    {_, #{port := Tcp, ssl_port := Tls}} =
        restart(Config, [], [{ssl_server_port, 0}, identity(Config, server, server) | Settings]),
    [[attempt(Address, Number) || Address <- Addresses] || Number <- [Tcp, Tls]].

attempt(Address, Number) ->
    case gen_tcp:connect(Address, Number, []) of
        {ok, Socket} -> ok = gen_tcp:close(Socket), taken;
        {error, econnrefused} -> refused
    end.

%% A system that keeps the families apart, unless a program says something, changes nothing. In a
%% network namespace, which ends with the node, its only process.
sysctl_does_not_matter(_Config) ->
    Sysctl = "ip link set lo up && echo 1 >/proc/sys/net/ipv6/bindv6only",
    case os:cmd("unshare -n sh -c '" ++ Sysctl ++ "'") of
        [] ->
            Erl = {os:find_executable("unshare"),
                   ["-n", "sh", "-c", Sysctl ++ " && exec \"$@\"", "sh",
                    os:find_executable("erl")]},
            Node = gen_rpc_test_node:start([{exec, Erl}, {socket_ip, ?ANY6},
                                            {args, ["-dist_listen", "false",
                                                    "-start_epmd", "false"]}]),
            #{port := Number} = Node,
            ?assertEqual([taken, taken],
                         run(Node, fun() ->
                                           [attempt(A, Number) || A <- [?LOOPBACK6, ?LOOPBACK]]
                                   end)),
            ok = gen_rpc_test_node:stop(Node);
        Error ->
            {skip, "no network namespace: " ++ Error}
    end.

%% An address that this machine does not have refuses the start, and the error says which.
address_of_nobody(Config) ->
    {_, Server} = pair(Config),
    ok = gen_rpc_test_node:stop_app(Server),
    Settings = [{tcp_server_port, 0}, {socket_ip, {192, 0, 2, 1}}],
    {error, Reason} = gen_rpc_test_pair:while_crashing(
                        Server, fun() -> start_app(Server, Settings) end),
    named(["socket_ip", "{192,0,2,1}", "eaddrnotavail"], io_lib:format("~0p", [Reason])),
    ?assertEqual([], gen_rpc_test_node:leftovers(Server)).

%% Who comes over IPv4 to a listener of both families is shown with that address.
mapped_address_is_shown_as_ipv4(Config) ->
    {_, #{port := Number} = Server} = restart(Config, [], [{socket_ip, ?ANY6}]),
    [begin
         {ok, Socket} = gen_tcp:connect(Address, Number, []),
         ok = gen_tcp:send(Socket, "nonsense")
     end || Address <- [?LOOPBACK, ?LOOPBACK6]],
    ?assertEqual(["127.0.0.1", "::1"],
                 lists:sort([A || #{address := A} <- lines(Server, "peer refused", 2)])).

%%% Connecting

%% An IPv6 address is a host as any other, over TCP and TLS.
node_name_with_an_ipv6_address(Config) ->
    [Name1, Name2] = names([1, 2]),
    Settings = fun(Name) ->
                       Options = options(Config, list_to_atom(Name ++ "@::1")),
                       [{host, "::1"}, {ipv6_only, true}, {ssl_server_port, 0},
                        {ssl_server_options, Options}, {ssl_client_options, Options}]
               end,
    Server = gen_rpc_test_node:start(Name1, Settings(Name1)),
    #{node := Node} = Server,
    [begin
         Ways = gen_rpc_test_node:env(Driver, [Server]),
         Client = gen_rpc_test_node:start(Name2, [Ways | Settings(Name2)]),
         ?assertEqual(Node, rpc(Client, Server, {erlang, node}, [])),
         ?assertMatch(#{tls := Tls} when (Tls =:= undefined) =:= (Driver =:= tcp),
                      gen_rpc_test_node:connection(Client, Node)),
         ok = gen_rpc_test_node:stop(Client)
     end || Driver <- [tcp, ssl]],
    ok = gen_rpc_test_node:stop(Server).

%% A host that has no IPv4 address is reached over IPv6.
host_with_only_an_ipv6_address(Config) ->
    Server = start_on("six.test", [{socket_ip, ?LOOPBACK6}]),
    ?assertEqual(maps:get(node, Server), call_by_name(Config, [], Server, [?LOOPBACK6])),
    ok = gen_rpc_test_node:stop(Server).

%% A host that has both is tried over IPv4 first, and over IPv6 if that fails.
ipv6_after_ipv4(Config) ->
    Server = start_on("both.test", [{socket_ip, ?LOOPBACK6}]),
    #{node := Node, port := Number} = Server,
    {ok, Other} = gen_tcp:listen(Number, [{ip, ?LOOPBACK}, {active, false}]),
    Calling = gen_rpc_test_task:start(
                fun() -> call_by_name(Config, [], Server, [?LOOPBACK6, ?LOOPBACK]) end),
    {ok, First} = gen_tcp:accept(Other, 10000),
    ok = gen_tcp:close(First),
    ?assertEqual(Node, gen_rpc_test_task:result(Calling)),
    ok = gen_tcp:close(Other),
    ok = gen_rpc_test_node:stop(Server).

%% What the node that was meant has said is not hidden by an address where nobody is.
failure_that_says_most(Config) ->
    {Client, _} = pair(Config),
    [begin
         Server = start_on("both.test", [{socket_ip, Ip}, {secret_cookie, other}]),
         ?assertEqual({badrpc, invalid_cookie},
                      call_by_name(Config, [{reconnect_backoff_max, 0}], Server,
                                   [?LOOPBACK, ?LOOPBACK6])),
         Shown = inet:ntoa(Ip),
         ?assertMatch([#{reason := invalid_cookie, address := Shown}],
                      lines(Client, "cannot connect")),
         ok = gen_rpc_test_node:stop(Server)
     end || Ip <- [?LOOPBACK, ?LOOPBACK6]].

%% Where nobody is at all, the first address is named, and not the family without one.
first_of_equal_failures(Config) ->
    {Client, _} = pair(Config),
    Nobody = #{node => 'nobody@some.test', port => gen_rpc_test_node:free_port()},
    Once = [{reconnect_backoff_max, 0}],
    [begin
         ?assertEqual({badrpc, nodedown}, call_by_name(Config, Once, Nobody, Addresses)),
         ?assertMatch([#{reason := econnrefused, address := Shown}],
                      lines(Client, "cannot connect"))
     end || {Addresses, Shown} <- [{[?LOOPBACK, ?LOOPBACK6], "127.0.0.1"},
                                   {[?LOOPBACK], "127.0.0.1"},
                                   {[?LOOPBACK6], "::1"}]].

%% A node that speaks IPv6 only connects over nothing else, whatever address a name has.
ipv6_only_client(Config) ->
    {Client, _} = pair(Config),
    Only = [{ipv6_only, true}],
    Both = start_on("both.test", [{socket_ip, ?LOOPBACK6}]),
    #{node := Node, port := Number} = Both,
    {ok, Other} = gen_tcp:listen(Number, [{ip, {127, 0, 0, 2}}, {active, false}]),
    ?assertEqual(Node, call_by_name(Config, Only, Both, [{127, 0, 0, 2}, ?LOOPBACK6])),
    ?assertEqual({error, timeout}, gen_tcp:accept(Other, 0)),
    [begin
         ?assertEqual({badrpc, nodedown}, call_by_name(Config, Only, T, [?LOOPBACK])),
         ?assertMatch([#{reason := no_ipv6_address}], lines(Client, "cannot connect"))
     end || T <- [Both, Both#{node := 'x@127.0.0.1'}, Both#{node := 'x@::ffff:127.0.0.1'}]],
    ok = gen_tcp:close(Other),
    ok = gen_rpc_test_node:stop(Both).

%% Calls a node from the client of the pair, where the host in its name has these addresses, and the
%% resolver asks nobody.
call_by_name(Config, Settings, #{node := Node} = Server, Addresses) ->
    {Client, _} = restart(Config, [gen_rpc_test_node:env([Server]) | Settings], []),
    {ok, Host} = gen_rpc_dest:host(Node),
    Lookup = call(Client, inet_db, res_option, [lookup]),
    ok = call(Client, inet_db, set_lookup, [[file]]),
    [ok = call(Client, inet_db, add_host, [Address, [Host]]) || Address <- Addresses],
    Result = call(Client, gen_rpc, call, [Node, erlang, node, [], ?LONG]),
    [ok = call(Client, inet_db, del_host, [Address]) || Address <- Addresses],
    ok = call(Client, inet_db, set_lookup, [Lookup]),
    Result.

start_on(Host, Settings) ->
    [Name] = names([1]),
    gen_rpc_test_node:start(Name, [{host, Host} | Settings]).

%%% Buffers

%% The kernel has the sizes that the settings of each side ask for, as with gen_tcp.
sizes_are_in_force(Config) ->
    Sizes = fun(SndBuf, RecBuf) -> [{socket_sndbuf, SndBuf}, {socket_recbuf, RecBuf}] end,
    [begin
         {Client, #{node := Node} = Server} =
             Restart(Config, Sizes(60000, 70000), Sizes(80000, 90000)),
         Node = rpc(Client, Server, {erlang, node}, []),
         ?assertEqual(kernel_sizes(60000, 70000),
                      sizes(gen_rpc_test_node:connection(Client, Node))),
         ?assertEqual([kernel_sizes(80000, 90000)],
                      [sizes(Info) || Info <- gen_rpc_test_node:acceptors(Server)])
     end || Restart <- [fun restart/3, fun restart_tls/3]].

%% Without a setting they are what the kernel gives every socket, and changes as it sees fit.
sizes_of_the_system(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, [], []),
    Node = rpc(Client, Server, {erlang, node}, []),
    {ok, Listening} = gen_tcp:listen(0, [{ip, ?LOOPBACK}]),
    {ok, Number} = inet:port(Listening),
    {ok, Socket} = gen_tcp:connect(?LOOPBACK, Number, []),
    {ok, [{sndbuf, SndBuf}, {recbuf, RecBuf}]} = inet:getopts(Socket, [sndbuf, recbuf]),
    [[?assert(Size >= Least) || {Size, Least} <- lists:zip(sizes(Info), [SndBuf, RecBuf])]
     || Info <- [gen_rpc_test_node:connection(Client, Node) | gen_rpc_test_node:acceptors(Server)]],
    lists:foreach(fun gen_tcp:close/1, [Socket, Listening]).

kernel_sizes(SndBuf, RecBuf) ->
    {ok, Socket} = gen_tcp:listen(0, [{sndbuf, SndBuf}, {recbuf, RecBuf}]),
    {ok, Sizes} = inet:getopts(Socket, [sndbuf, recbuf]),
    ok = gen_tcp:close(Socket),
    [Size || {_, Size} <- Sizes].

sizes(#{socket_sndbuf := SndBuf, socket_recbuf := RecBuf}) ->
    [SndBuf, RecBuf].

%% The size is set before the first packet leaves, which tells the shift of the window: none for a
%% small buffer, and enough for the largest.
window_follows_the_size(Config) ->
    {ok, Max} = file:read_file("/proc/sys/net/core/rmem_max"),
    Large = list_to_integer(string:trim(binary_to_list(Max))),
    [begin
         {ok, Hole} = gen_tcp:listen(0, [{ip, ?LOOPBACK}, {active, false}]),
         {ok, HoleNumber} = inet:port(Hole),
         Ways = {client_config_per_node, {internal, #{'hole@127.0.0.1' => HoleNumber}}},
         Settings = [{socket_recbuf, Size}],
         {Client, #{port := Number}} = restart(Config, [Ways | Settings], Settings),
         {ok, ToServer} = gen_tcp:connect(?LOOPBACK, Number, []),
         true = call(Client, gen_rpc, cast, ['hole@127.0.0.1', erlang, node, [], 0]),
         {ok, FromClient} = gen_tcp:accept(Hole, 10000),
         [?assertEqual({Size, true}, {Size, IsRight(window_shift(Socket))})
          || Socket <- [ToServer, FromClient]],
         lists:foreach(fun gen_tcp:close/1, [ToServer, FromClient, Hole])
     end || {Size, IsRight} <- [{10000, fun(Shift) -> Shift =:= 0 end},
                                {Large, fun(Shift) -> 65535 bsl Shift >= Large end}]].

%% As the other side has told it. (The halves of the byte are swapped on big-endian machines.)
window_shift(Socket) ->
    {ok, [{raw, _, _, <<_:6/binary, _Ours:4, Theirs:4, _/binary>>}]} =
        inet:getopts(Socket, [?TCP_INFO]),
    Theirs.

%% What the driver reads at once has the size of the setting, within bounds. With each of them
%% messages of all sizes come through.
read_at_once(Config) ->
    Messages = [binary:copy(<<"b">>, Size) || Size <- [0, 1, 1000, 16384, 16385, 70000, 1000000]],
    [begin
         Settings = [{socket_buffer, Asked}],
         {Client, #{node := Node} = Server} = Restart(Config, Settings, Settings),
         Echo = fun() -> [gen_rpc:call(Node, erlang, hd, [[M]], ?LONG) || M <- Messages] end,
         ?assertEqual({Asked, lists:duplicate(10, true)},
                      {Asked, run(Client, fun() ->
                                                  Tasks = gen_rpc_test_task:start(
                                                            10, fun(_) -> Echo() =:= Messages end),
                                                  gen_rpc_test_task:results(Tasks)
                                          end)}),
         ?assertMatch(#{socket_buffer := InForce}, gen_rpc_test_node:connection(Client, Node)),
         ?assertMatch([#{socket_buffer := InForce}], gen_rpc_test_node:acceptors(Server))
     end || {Asked, InForce} <- [{1, 16412}, {20000, 20000}, {1000000, 65536}, {undefined, 65536}],
            Restart <- [fun restart/3, fun restart_tls/3]].

%%% Discovery

%% The digits on the left of the @ count, and no others.
port_of_a_name(_Config) ->
    [?assertEqual({Name, Port}, {Name, gen_rpc_discovery:port(Name)})
     || {Name, Port} <- [{'a1@host', {ok, 5371}},
                         {'a@host', {ok, 5370}},
                         {'a@host7', {ok, 5370}},
                         {'1a@host', {ok, 5370}},
                         {'a1b@host', {ok, 5370}},
                         {'a1b23@10.0.0.5', {ok, 5393}},
                         {'a0@host', {ok, 5370}},
                         {'a007@host', {ok, 5377}},
                         {'a-1@host', {ok, 5371}},
                         {'12@host', {ok, 5382}},
                         {'a@1@host', {ok, 5370}},
                         {'a٣@host', {ok, 5370}},
                         {nonode@nohost, {ok, 5370}},
                         {'a60165@::1', {ok, 65535}},
                         {'a60166@::1', {too_high, 65536}},
                         {list_to_atom(lists:duplicate(250, $9) ++ "@host"),
                          {too_high, 5369 + pow10(250)}}]].

pow10(0) -> 1;
pow10(N) -> 10 * pow10(N - 1).

%% Three nodes on one host, and not a port in their settings: each calls each.
three_nodes_over_tcp(_Config) ->
    call_each_other(fun(_Node) -> [] end, port).

%% Over TLS likewise. The other listener has no port of its own for each node, so it is switched off.
three_nodes_over_tls(Config) ->
    call_each_other(fun(Node) ->
                            Options = options(Config, Node),
                            [{default_client_driver, ssl}, {tcp_server_port, false},
                             {ssl_server_options, Options}, {ssl_client_options, Options}]
                    end, ssl_port).

call_each_other(Settings, Key) ->
    Numbers = free_numbers(3),
    Nodes = [start_stateless(Name, Settings(node_of(Name))) || Name <- names(Numbers)],
    ?assertEqual([5370 + N || N <- Numbers], [maps:get(Key, T) || T <- Nodes]),
    [?assertEqual(maps:get(node, B), rpc(A, B, {erlang, node}, []))
     || A <- Nodes, B <- Nodes, A =/= B],
    [?assertEqual(2, length(gen_rpc_test_node:acceptors(T))) || T <- Nodes],
    lists:foreach(fun gen_rpc_test_node:stop/1, Nodes).

%% A node that says that it has no server has none, whatever its name, and still calls others.
no_server_stays_none(_Config) ->
    [Name1, Name2] = names(free_numbers(2)),
    Server = start_stateless(Name1, []),
    Client = start_stateless(Name2, [{tcp_server_port, false}]),
    ?assertEqual(0, maps:get(port, Client)),
    ?assertEqual(maps:get(node, Server), rpc(Client, Server, {erlang, node}, [])),
    ?assertEqual({badrpc, nodedown}, rpc(Server, Client, {erlang, node}, [])),
    lists:foreach(fun gen_rpc_test_node:stop/1, [Client, Server]).

%% Names tell the port of the default driver alone.
other_driver_keeps_its_ports(Config) ->
    [N1, N2] = free_numbers(2),
    [Name1, Name2] = names([N1, N2]),
    TlsNumber = gen_rpc_test_node:free_port(),
    Settings = fun(Name) ->
                       Options = options(Config, node_of(Name)),
                       [{ssl_server_options, Options}, {ssl_client_options, Options}]
               end,
    Server = start_stateless(Name1, [{ssl_server_port, TlsNumber} | Settings(Name1)]),
    ?assertMatch(#{port := Port, ssl_port := TlsNumber} when Port =:= 5370 + N1, Server),
    #{node := Node} = Server,
    Client = start_stateless(Name2, [{client_config_per_node, {internal, #{Node => ssl}}},
                                     {ssl_client_port, TlsNumber} | Settings(Name2)]),
    ?assertEqual(0, maps:get(ssl_port, Client)),
    ?assertEqual(Node, rpc(Client, Server, {erlang, node}, [])),
    ?assertMatch(#{tls := #{}}, gen_rpc_test_node:connection(Client, Node)),
    lists:foreach(fun gen_rpc_test_node:stop/1, [Client, Server]).

%% An entry of a node that has a port wins; one with the driver alone leaves the port to the name.
way_of_a_node_wins(Config) ->
    {_, Elsewhere} = restart(Config, [], []),
    [Name1, Name2] = names(free_numbers(2)),
    ByName = start_stateless(Name1, []),
    Client = start_stateless(Name2, []),
    [begin
         _ = gen_rpc_test_node:restart_app(
               Client, [{port_discovery, stateless},
                        {client_config_per_node,
                         {internal, #{maps:get(node, Elsewhere) => Way,
                                      maps:get(node, ByName) => tcp}}}]),
         [?assertEqual({Way, Node}, {Way, rpc(Client, T, {erlang, node}, [])})
          || #{node := Node} = T <- [Elsewhere, ByName]]
     end || Way <- [{tcp, maps:get(port, Elsewhere)}, maps:get(port, Elsewhere)]],
    lists:foreach(fun gen_rpc_test_node:stop/1, [Client, ByName]).

%% A node whose port would be over 65535 does not start, and says why; without a server it may.
name_that_has_no_port(_Config) ->
    [Name] = names([60166]),
    Node = node_of(Name),
    T = gen_rpc_test_node:start(Name, []),
    ok = gen_rpc_test_events:install(T),
    ok = gen_rpc_test_node:stop_app(T),
    ?assertMatch({error, {{no_port, Node, 65536}, _}},
                 start_app(T, [{port_discovery, stateless}])),
    [#{level := error, text := Text}] = gen_rpc_test_events:ours(T),
    named(["invalid setting", "port_discovery", "stateless", Name, "65536", "65535"], Text),
    ?assertEqual([], gen_rpc_test_node:leftovers(T)),
    ?assertEqual(ok, start_app(T, [{port_discovery, stateless}, {tcp_server_port, false}])),
    ok = gen_rpc_test_node:stop(T).

%% Another node whose port would be over that can't be reached: logged, and no reason to crash.
node_that_has_no_port(Config) ->
    [Name] = names(free_numbers(1)),
    [TooHigh] = [node_of(N) || N <- names([60166])],
    Client = start_stateless(Name, []),
    ok = gen_rpc_test_events:install(Client),
    ?assertEqual({badrpc, nodedown}, call(Client, gen_rpc, call, [TooHigh, erlang, node, []])),
    ?assertEqual(true, call(Client, gen_rpc, cast, [TooHigh, erlang, node, []])),
    ?assertMatch([#{node := TooHigh, reason := port_over_65535},
                  #{node := TooHigh, reason := port_over_65535}],
                 lines(Client, "cannot connect")),
    ?assertMatch([#{reason := nodedown}], lines(Client, "cast dropped", 1)),
    ?assertEqual([], gen_rpc_test_pair:crashes(Client)),
    ok = gen_rpc_test_node:stop(Client),
    %% A port of its own makes it as good as any other.
    {_, Server} = restart(Config, [], []),
    ?assertEqual({tcp, maps:get(port, Server)},
                 run(Server, fun() ->
                                     Way = {internal, #{TooHigh => maps:get(port, Server)}},
                                     ok = gen_rpc_config:load([{port_discovery, stateless},
                                                               {tcp_server_port, false},
                                                               {client_config_per_node, Way}]),
                                     gen_rpc_config:target(TooHigh)
                             end)).

%% Two nodes whose names have the same digits can't both be on one host; the second one says so.
port_that_is_taken(_Config) ->
    [N] = free_numbers(1),
    [Name1, Name2] = names([N, N]),
    First = start_stateless(Name1, []),
    Second = gen_rpc_test_node:start(Name2, []),
    ok = gen_rpc_test_node:stop_app(Second),
    {error, Reason} = start_app(Second, [{port_discovery, stateless}]),
    named(["port_discovery", integer_to_list(5370 + N), "eaddrinuse"],
          io_lib:format("~0p", [Reason])),
    lists:foreach(fun gen_rpc_test_node:stop/1, [First, Second]).

%%% Helpers

pair(Config) ->
    maps:get(pair, tls(Config)).

tls(Config) ->
    proplists:get_value(tls, Config).

restart(Config, ClientSettings, ServerSettings) ->
    gen_rpc_test_pair:restart(pair(Config), ClientSettings, ServerSettings).

%% The same, over TLS.
restart_tls(Config, ClientSettings, ServerSettings) ->
    [ClientOptions, ServerOptions] =
        [gen_rpc_test_certs:options(maps:get(Who, tls(Config))) || Who <- [client, server]],
    gen_rpc_test_tls:restart(tls(Config), ClientOptions, ServerOptions, ClientSettings,
                             ServerSettings).

%% The setting with what a node of the pair shows in a role.
identity(Config, Who, Role) ->
    {gen_rpc_tls_options:setting(Role), gen_rpc_test_certs:options(maps:get(Who, tls(Config)))}.

%% A certificate for another node, as options.
options(Config, Node) ->
    gen_rpc_test_certs:options(gen_rpc_test_certs:node(maps:get(ca, tls(Config)), Node)).

%% Names that nobody has, with these numbers at their end.
names(Numbers) ->
    [lists:concat(["a", os:getpid(), "-", erlang:unique_integer([positive]), "n", N])
     || N <- Numbers].

node_of(Name) ->
    list_to_atom(Name ++ "@127.0.0.1").

start_stateless(Name, Settings) ->
    gen_rpc_test_node:start(Name, [{port_discovery, stateless} | Settings]).

%% As from a sys.config with these settings and no others, on a node where gen_rpc does not run.
start_app(T, Settings) ->
    run(T, fun() ->
                   [ok = application:unset_env(gen_rpc, Key)
                    || {Key, _} <- application:get_all_env(gen_rpc)],
                   [ok = application:set_env(gen_rpc, Key, Value) || {Key, Value} <- Settings],
                   application:start(gen_rpc)
           end).

%% Numbers of which the ports are free, and not those that the kernel gives to others.
free_numbers(Count) ->
    First = 1000 + rand:uniform(20000),
    Numbers = lists:seq(First, First + Count - 1),
    case lists:all(fun(N) -> is_free(5370 + N) end, Numbers) of
        true -> Numbers;
        false -> free_numbers(Count)
    end.

is_free(Port) ->
    case gen_tcp:listen(Port, [{reuseaddr, true}]) of
        {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
        {error, eaddrinuse} -> false
    end.

named(Parts, Text) ->
    [?assertNotEqual({Part, nomatch}, {Part, string:find(Text, Part)}) || Part <- Parts].
