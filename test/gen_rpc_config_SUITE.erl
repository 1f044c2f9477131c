%% SPDX-License-Identifier: Apache-2.0
%% The settings: what is allowed, what the defaults are, and how a start is refused, on a node whose
%% application is started with them.
-module(gen_rpc_config_SUITE).

-behaviour(ct_suite).

-include_lib("proper/include/proper.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2]).
-export([defaults/1, wrong_values_are_refused/1, wrong_combination_is_refused/1]).
-export([unknown_names_are_refused/1]).
-export([right_values_are_accepted/1, random_values_are_accepted_or_refused/1]).
-export([refused_start_leaves_nothing/1, port_in_use_is_named/1]).
-export([wrong_cookie_is_not_shown/1, right_cookie_is_not_shown/1]).
-export([smallest_values_work/1, largest_values_work/1, every_way_to_a_node/1]).
-export([server_is_optional/1, kinds_of_cookies/1, changes_wait_for_the_next_start/1]).
-export([settings_of_a_connection/1]).

-import(gen_rpc_test_node, [call/4, run/2, rpc/4]).

-define(TIMEOUTS, [connect_timeout, authentication_timeout, send_timeout, call_receive_timeout,
                   sbcast_receive_timeout, client_inactivity_timeout, server_inactivity_timeout,
                   async_call_inactivity_timeout]).
-define(LONGEST, 16#FFFFFFFE).
-define(TLS, [ssl_server_options, ssl_client_options]).
-define(HIDDEN, [secret_cookie | ?TLS]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [defaults, wrong_values_are_refused, wrong_combination_is_refused, unknown_names_are_refused,
     right_values_are_accepted, random_values_are_accepted_or_refused,
     refused_start_leaves_nothing, port_in_use_is_named, wrong_cookie_is_not_shown,
     right_cookie_is_not_shown, smallest_values_work, largest_values_work, every_way_to_a_node,
     server_is_optional, kinds_of_cookies, changes_wait_for_the_next_start,
     settings_of_a_connection].

init_per_suite(Config) ->
    {Client, Server} = gen_rpc_test_pair:start(),
    [{client, Client}, {server, Server} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(pair(Config)).

init_per_testcase(_Case, Config) ->
    [begin
         ok = gen_rpc_test_node:stop_app(Node),
         ok = gen_rpc_test_events:clear(Node)
     end || Node <- tuple_to_list(pair(Config))],
    Config.

%%% What is allowed

%% These are the defaults that the documentation promises.
defaults(_Config) ->
    Defaults = #{tcp_server_port => 5369,
                 tcp_client_port => 5369,
                 ssl_server_port => false,
                 ssl_client_port => 5370,
                 ssl_server_options => [],
                 ssl_client_options => [],
                 default_client_driver => tcp,
                 client_config_per_node => {internal, #{}},
                 source_cache_ttl => 5000,
                 register_with_epmd => false,
                 port_discovery => manual,
                 secret_cookie => undefined,
                 connect_timeout => 5000,
                 reconnect_backoff_max => 2000,
                 authentication_timeout => 5000,
                 send_timeout => 5000,
                 call_receive_timeout => 15000,
                 sbcast_receive_timeout => 15000,
                 client_inactivity_timeout => infinity,
                 server_inactivity_timeout => infinity,
                 socket_ip => {0, 0, 0, 0},
                 ipv6_only => false,
                 socket_sndbuf => undefined,
                 socket_recbuf => undefined,
                 socket_buffer => undefined,
                 socket_keepalive_idle => 5,
                 socket_keepalive_interval => 5,
                 socket_keepalive_count => 2,
                 keepalive_interval => 60,
                 max_message_size => 512 * 1024 * 1024,
                 output_limit => 4194304,
                 max_connections => 10000,
                 max_half_open => 2000,
                 max_half_open_per_address => 500,
                 max_handshakes => undefined,
                 max_concurrent_calls => infinity,
                 cast_overload_policy => block,
                 kill_on_cancel => false,
                 async_call_inactivity_timeout => infinity,
                 rpc_module_control => disabled,
                 rpc_module_list => [],
                 fun_code_shipping => false,
                 compress => 0,
                 compression_threshold => 1024,
                 compress_context => false},
    ?assertEqual(Defaults, maps:map(fun(Key, _) -> gen_rpc_config:get(Key) end, Defaults)),
    ?assertEqual(lists:sort(maps:keys(Defaults)), known_settings()).

%% A value of a wrong type or out of bounds refuses the start. The error and one line in the log say
%% which setting it was, what it was, and what is allowed.
wrong_values_are_refused(Config) ->
    [begin
         {error, {invalid_setting, Key, Value, Allowed}} = start(Config, [{Key, Value}]),
         ?assert(io_lib:printable_latin1_list(Allowed) andalso Allowed =/= ""),
         [#{level := error, text := Text}] = gen_rpc_test_events:ours(client(Config)),
         ?assertNotEqual(nomatch, string:prefix(Text, "gen_rpc: invalid setting")),
         [?assertNotEqual(nomatch, string:find(Text, Part))
          || Part <- [atom_to_list(Key), shown(Config, Value), Allowed]]
     end || {Key, Values} <- wrong_values(), Value <- Values].

%% As that node shows it: from OTP 26 on, two nodes may order the atoms in a map differently.
shown(Config, Value) ->
    lists:flatten(call(client(Config), io_lib, format, ["~0tp", [Value]])).

wrong_values() ->
    NoNumbers = [foo, "1", <<"1">>, 1.0, [], {}, #{}, true, undefined, '', [1 | 2]],
    NoBooleans = [0, 1, yes, no, 'True', "true", <<"false">>, undefined, infinity, [], {true}],
    NoPorts = [-1, 65536, 1 bsl 64, infinity | NoNumbers],
    NoTimeouts = [0, -1, ?LONGEST + 1, 1 bsl 64, false, 'Infinity', {infinity} | NoNumbers],
    NoWays = [-1, 0, 65536, "5369", udp, {ssl, 0}, {tcp, 0}, {tcp, 65536}, {tcp, "1"}, {udp, 1},
              {1, tcp}, {tcp}, {tcp, 1, 2}, [tcp]],
    [{tcp_server_port, NoPorts},
     {tcp_client_port, [0, false | NoPorts]},
     {ssl_server_port, NoPorts},
     {ssl_client_port, [0, false | NoPorts]},
     {default_client_driver, [udp, "tcp", <<"tcp">>, {tcp, 1}, 5369, undefined, []]},
     {cast_overload_policy, [wait, "drop", <<"drop">>, {drop, 1}, true, undefined, infinity, [],
                             0]},
     {port_discovery, [stateful, "stateless", <<"manual">>, {stateless, 5370}, true, undefined, [],
                       5370]},
     {socket_ip, ["127.0.0.1", <<"::1">>, any, loopback, undefined, [], {}, {127, 0, 0},
                  {127, 0, 0, 256}, {127, 0, 0, -1}, {127, 0, 0, "1"}, {0, 0, 0, 0, 0, 0, 0},
                  {0, 0, 0, 0, 0, 0, 0, 65536}, {local, "/tmp/socket"}, 0]},
     {ipv6_only, NoBooleans},
     {kill_on_cancel, NoBooleans},
     {fun_code_shipping, NoBooleans},
     {rpc_module_control, [true, false, white, "whitelist", {whitelist, []}, undefined, 0]},
     {rpc_module_list, [lists, "lists", ["lists"], [<<"lists">>], [lists, 1], [lists | string], {},
                        #{}, undefined]},
     {compress_context, NoBooleans},
     {register_with_epmd, NoBooleans},
     {max_concurrent_calls, [-1, 0, 1 bsl 32, 1 bsl 64, unlimited, false, 'Infinity' | NoNumbers]},
     {client_config_per_node, [#{}, internal, {internal}, {internal, []}, {internal, [{a, 1}]},
                               {internal, #{}, more}, {external, #{}}, undefined, [],
                               {internal, #{"node" => 1}}, {internal, #{<<"node">> => tcp}},
                               {internal, #{a => tcp, b => nothing}}, {internal, f},
                               {internal, undefined}, {external, "module"}, {external, m, f},
                               {external, {m, f}}, {<<"m">>, f}, {m, "f"}, {m, f, 1},
                               {m, fun erlang:node/1}, fun erlang:node/1] ++
          [{internal, #{'a@127.0.0.1' => Way}} || Way <- NoWays]}]
        ++ [{Key, NoTimeouts} || Key <- ?TIMEOUTS]
        ++ [{Key, [Min - 1, Max + 1, -Max, infinity, false | NoNumbers]}
            || {Key, Min, Max} <- integers()]
        ++ [{Key, [Min - 1, Max + 1, -Max, infinity, false | NoNumbers -- [undefined]]}
            || {Key, Min, Max} <- sizes()].

integers() ->
    [{source_cache_ttl, 0, ?LONGEST},
     {socket_keepalive_idle, 1, 32767},
     {socket_keepalive_interval, 1, 32767},
     {socket_keepalive_count, 1, 127},
     {keepalive_interval, 1, 4294967},
     {max_message_size, 1024, 16#FFFFFFFF},
     {output_limit, 1024, 16#FFFFFFFF},
     {max_connections, 1, 16#FFFFFFFF},
     {max_half_open, 1, 16#FFFFFFFF},
     {max_half_open_per_address, 1, 16#FFFFFFFF},
     {reconnect_backoff_max, 0, 16#FFFFFFFE},
     {compress, 0, 9},
     {compression_threshold, 1, 16#FFFFFFFF}].

%% These may be undefined as well.
sizes() ->
    [{max_handshakes, 1, 64} |
     [{Key, 1, 16#7FFFFFFF} || Key <- [socket_sndbuf, socket_recbuf, socket_buffer]]].

%% Two values that are right, each alone, refuse the start too. The error names both.
wrong_combination_is_refused(Config) ->
    Settings = [{ipv6_only, true}, {socket_ip, {127, 0, 0, 1}}],
    {error, {conflicting_settings, Settings, Why}} = start(Config, Settings),
    [#{level := error, text := Text}] = gen_rpc_test_events:ours(client(Config)),
    [?assertNotEqual(nomatch, string:find(Text, Part))
     || Part <- ["ipv6_only is true", "socket_ip is {127,0,0,1}", Why]].

%% A name that is not known, a misspelt one for instance, refuses the start too. Its value is not
%% shown: who knows what it was meant for.
unknown_names_are_refused(Config) ->
    [begin
         ok = gen_rpc_test_events:clear(client(Config)),
         {error, {unknown_setting, Name, Known}} = start(Config, [{Name, "value"}]),
         ?assertEqual(known_settings(), Known),
         [#{level := error, text := Text}] = gen_rpc_test_events:ours(client(Config)),
         [?assertNotEqual(nomatch, string:find(Text, Part))
          || Part <- ["unknown setting", lists:flatten(io_lib:format("~tp", [Name])) |
                      [atom_to_list(Key) || Key <- Known]]],
         ?assertEqual(nomatch, string:find(Text, "value"))
     end || Name <- [tcp_sever_port, secret_coookie, 'Größe', '', "tcp_server_port", {a, b}, 1]].

known_settings() ->
    {error, {unknown_setting, nothing, Known}} = gen_rpc_config:load([{nothing, 1}]),
    Known.

%% The first and the last value of every range, and every kind of value, start.
right_values_are_accepted(Config) ->
    [begin
         ?assertEqual({Key, Value, ok}, {Key, Value, start_here(Config, [{Key, Value}])}),
         ?assertEqual({Key, Value}, {Key, call(client(Config), gen_rpc_config, get, [Key])}),
         ok = gen_rpc_test_node:stop_app(client(Config))
     end || {Key, Values} <- right_values(), Value <- Values].

right_values() ->
    [{tcp_server_port, [0, false, gen_rpc_test_node:free_port()]},
     {tcp_client_port, [1, 65535]},
     {ssl_client_port, [1, 65535]},
     {default_client_driver, [tcp]},
     {port_discovery, [manual]},
     {socket_ip, [{0, 0, 0, 0}, {127, 0, 0, 1}]},
     {ipv6_only, [false]},
     {cast_overload_policy, [block, drop, error]},
     {kill_on_cancel, [true, false]},
     {fun_code_shipping, [true, false]},
     {rpc_module_control, [disabled, whitelist, blacklist]},
     {rpc_module_list, [[], [lists], [lists, lists, 'Größe', no_such_module]]},
     {compress_context, [true, false]},
     {register_with_epmd, [true, false]},
     {max_concurrent_calls, [1, 16#FFFFFFFF, infinity]},
     {client_config_per_node, [{internal, #{}},
                               {internal, #{'a@127.0.0.1' => tcp, 'b@127.0.0.1' => 1,
                                            'c@127.0.0.1' => 65535,
                                            'd@127.0.0.1' => {tcp, 65535}}},
                               {external, gen_rpc_dns_source}, {external, no_such_module},
                               {external, external}, {no_such_module, f}, {m, internal}]},
     {secret_cookie, cookies()}]
        ++ [{Key, [1, ?LONGEST, infinity]} || Key <- ?TIMEOUTS]
        ++ [{Key, [Min, Max]} || {Key, Min, Max} <- integers()]
        ++ [{Key, [Min, Max, undefined]} || {Key, Min, Max} <- sizes()].

cookies() ->
    Longest = lists:duplicate(255, 16#1F36A),
    [undefined, chocolate, 'Plätzchen', list_to_atom(Longest), "c", "Plätzchen", Longest, <<"c">>,
     <<0, 255>>, binary:copy(<<"c">>, 1020)].

%% Whatever somebody writes into his configuration: it is in force, or refused with an error that
%% can be read. Nothing else ever happens.
random_values_are_accepted_or_refused(Config) ->
    ?assertEqual(true, run(client(Config),
                           fun() ->
                                   proper:quickcheck(prop_accepted_or_refused(),
                                                     [quiet, {numtests, 3000}, {max_size, 30}])
                                       orelse proper:counterexample()
                           end)).

prop_accepted_or_refused() ->
    ?FORALL({Key, Value}, {oneof(known_settings()), value()},
            case gen_rpc_config:load([{Key, Value}]) of
                ok ->
                    InForce = gen_rpc_config:get(Key),
                    ok = gen_rpc_config:unload(),
                    InForce =:= Value;
                {error, {invalid_setting, Key, Shown, Allowed} = Reason} ->
                    (Shown =:= Value orelse (lists:member(Key, ?HIDDEN) andalso Shown =:= hidden))
                        andalso io_lib:printable_latin1_list(Allowed)
                        andalso is_one_line(gen_rpc_config:format(Reason));
                {error, {_, {Setting, _Option}, _, _} = Reason} ->
                    %% An option of TLS, or one that is missing because TLS is wanted.
                    lists:member(Setting, ?TLS) andalso is_one_line(gen_rpc_config:format(Reason));
                {error, {unknown_setting, {Setting, _Option}, _} = Reason} ->
                    lists:member(Setting, ?TLS) andalso is_one_line(gen_rpc_config:format(Reason))
            end).

value() ->
    Number = oneof([integer(), range(-2, 70000), ?LET(N, range(0, 70), 1 bsl N)]),
    Way = {oneof([atom(), any()]), oneof([tcp, Number, {tcp, Number}, any()])},
    frequency([{3, any()},
               {3, Number},
               {1, oneof([infinity, false, undefined, tcp])},
               {1, string()},
               {1, binary()},
               {1, {oneof([internal, external, atom()]), atom()}},
               {2, {internal, ?LET(Ways, list(Way), maps:from_list(Ways))}}]).

is_one_line(Text) ->
    lists:all(fun is_integer/1, Text) andalso not lists:member($\n, Text).

%%% A start that is refused

%% A refused start leaves no process, no port, no table and no setting behind, and the next one
%% works.
refused_start_leaves_nothing(Config) ->
    Client = client(Config),
    {error, {invalid_setting, max_connections, 0, _}} =
        start(Config, [{connect_timeout, 1234}, {max_connections, 0}]),
    ?assertEqual([], gen_rpc_test_node:leftovers(Client)),
    ?assertEqual(5000, call(Client, gen_rpc_config, get, [connect_timeout])),
    ?assertEqual(ok, start_here(Config, [{connect_timeout, 1234}])),
    ?assertEqual(1234, call(Client, gen_rpc_config, get, [connect_timeout])).

%% A port number that somebody else listens on refuses the start, and the error says which.
port_in_use_is_named(Config) ->
    {ok, Listening} = gen_tcp:listen(0, []),
    {ok, Number} = inet:port(Listening),
    {error, Reason} = start(Config, [{tcp_server_port, Number}]),
    Text = lists:flatten(io_lib:format("~p", [Reason])),
    [?assertNotEqual(nomatch, string:find(Text, Part))
     || Part <- ["tcp_server_port", integer_to_list(Number), "{socket_ip,{0,0,0,0}}", "eaddrinuse"]],
    ?assertEqual([], gen_rpc_test_node:leftovers(client(Config))),
    ok = gen_tcp:close(Listening).

%% A cookie that is not allowed is refused like any other value, but neither the error nor anything
%% that is logged shows it.
wrong_cookie_is_not_shown(Config) ->
    [begin
         {error, {invalid_setting, secret_cookie, hidden, Allowed} = Reason} =
             start(Config, [{secret_cookie, Cookie}]),
         ?assertNotEqual("", Allowed),
         not_shown("chocolate", io_lib:format("~p", [Reason])),
         ?assertMatch([#{level := error}], gen_rpc_test_events:ours(client(Config))),
         not_shown("chocolate", gen_rpc_test_events:text(client(Config)))
     end || Cookie <- [{"chocolate"}, [chocolate], [<<"chocolate">>, chocolate], #{chocolate => 1},
                       ["chocolate" | chocolate], "chocolate" ++ [-1], ["chocolate", 16#D800],
                       <<"chocolate", 1:1>>, binary:copy(<<"chocolate">>, 114),
                       lists:append(lists:duplicate(114, "chocolate"))]],
    [?assertMatch({error, {invalid_setting, secret_cookie, hidden, _}},
                  start(Config, [{secret_cookie, Cookie}]))
     || Cookie <- ['', "", <<>>, [[], <<>>], 0, 1.0, {}, #{}, self(), fun() -> chocolate end]].

%% Nor does a start that is refused for another reason show a good cookie.
right_cookie_is_not_shown(Config) ->
    {ok, Listening} = gen_tcp:listen(0, []),
    {ok, Number} = inet:port(Listening),
    [begin
         {error, Reason} = start(Config, [{secret_cookie, Cookie}, Wrong]),
         not_shown("chocolate", io_lib:format("~p", [Reason])),
         not_shown("chocolate", gen_rpc_test_events:text(client(Config)))
     end || Cookie <- [chocolate, "chocolate", <<"chocolate">>],
            Wrong <- [{connect_timeout, 0}, {no_such_setting, 1}, {tcp_server_port, Number}]],
    ok = gen_tcp:close(Listening).

%%% Values at work

%% Two nodes with the least of everything can call each other. (Not the shortest times: nobody
%% promises to connect within a millisecond.)
smallest_values_work(Config) ->
    Smallest = [{Key, Min} || {Key, Min, _} <- integers() ++ sizes()],
    {Client, Server} = gen_rpc_test_pair:restart(pair(Config), Smallest, Smallest),
    ?assertEqual(maps:get(node, Server), rpc(Client, Server, {erlang, node}, [])).

%% So can two nodes with the most of everything.
largest_values_work(Config) ->
    [begin
         Largest = [{Key, Max} || {Key, _, Max} <- integers() ++ sizes()] ++
             [{Key, Time} || Key <- ?TIMEOUTS],
         {Client, Server} = gen_rpc_test_pair:restart(pair(Config), Largest, Largest),
         #{node := Node} = Server,
         Call = fun() -> gen_rpc:call(Node, erlang, node, [], Time, Time) end,
         ?assertEqual(Node, run(Client, Call))
     end || Time <- [?LONGEST, infinity]].

%% A port number, a driver, both, or nothing at all tell the way to a node; what is missing is the
%% default.
every_way_to_a_node(Config) ->
    Server = gen_rpc_test_node:restart_app(server(Config), []),
    #{node := Node, port := Port} = Server,
    [begin
         {Client, _} = gen_rpc_test_pair:restart(
                         pair(Config), [{tcp_server_port, false} | Settings],
                         [{tcp_server_port, Port}]),
         ?assertEqual({Settings, Node}, {Settings, rpc(Client, Server, {erlang, node}, [])})
     end || Settings <- [ways(Node, {tcp, Port}),
                         ways(Node, Port),
                         [{tcp_client_port, Port} | ways(Node, tcp)],
                         [{tcp_client_port, Port} | ways('other@127.0.0.1', 1)],
                         [{tcp_client_port, Port}, {client_config_per_node, {internal, #{}}}]]].

ways(Node, Way) ->
    [{client_config_per_node, {internal, #{Node => Way}}}].

%% A node that only calls others needs no port to listen on.
server_is_optional(Config) ->
    {Client, Server} = gen_rpc_test_pair:restart(pair(Config), [{tcp_server_port, false}], []),
    ?assertEqual(maps:get(node, Server), rpc(Client, Server, {erlang, node}, [])),
    ?assertEqual(undefined, call(Client, erlang, whereis, [gen_rpc_listener])).

%% A cookie is its characters, whether written as an atom, a string or a binary; without one it is
%% the node's.
kinds_of_cookies(Config) ->
    [begin
         {Client, Server} = gen_rpc_test_pair:restart(pair(Config), [{secret_cookie, Mine}],
                                                      [{secret_cookie, Yours}]),
         Result = rpc(Client, Server, {erlang, node}, []),
         ?assertEqual({Mine, Yours, Expected}, {Mine, Yours, Result =:= maps:get(node, Server)})
     end || {Mine, Yours, Expected} <-
                [{Cookie, Cookie, true} || Cookie <- cookies()] ++
                [{chocolate, "chocolate", true},
                 {"chocolate", <<"chocolate">>, true},
                 {'Plätzchen', <<"Plätzchen"/utf8>>, true},
                 {undefined, call(client(Config), erlang, get_cookie, []), true},
                 {undefined, chocolate, false},
                 {chocolate, <<"chocolate ">>, false},
                 {"Plätzchen", <<"Plätzchen">>, false}]].

%% The settings are those of the start: changing the environment of a running application does
%% nothing until it starts again.
changes_wait_for_the_next_start(Config) ->
    Client = client(Config),
    ?assertEqual(ok, start_here(Config, [{connect_timeout, 1234}])),
    ok = call(Client, application, set_env, [gen_rpc, connect_timeout, 4321]),
    ok = call(Client, application, set_env, [gen_rpc, no_such_setting, 1]),
    ?assertEqual(1234, call(Client, gen_rpc_config, get, [connect_timeout])),
    ok = gen_rpc_test_node:stop_app(Client),
    ?assertMatch({error, {{unknown_setting, no_such_setting, _}, _}},
                 call(Client, application, start, [gen_rpc])),
    ok = call(Client, application, unset_env, [gen_rpc, no_such_setting]),
    ok = call(Client, application, start, [gen_rpc]),
    ?assertEqual(4321, call(Client, gen_rpc_config, get, [connect_timeout])).

%% The side that accepts has workers: a limit of them, and to hear of cancels, is its own business.
%% Compression is for both.
settings_of_a_connection(Config) ->
    Of = fun(Role) -> {ok, C} = call(client(Config), gen_rpc_config, connection, [Role]), C end,
    Off = #{max_running => infinity, tell_cancels => false, compress => 0,
            compress_context => false, compression_threshold => 1024},
    ?assertEqual(ok, start_here(Config, [])),
    [?assertEqual({Role, Off}, {Role, maps:with(maps:keys(Off), Of(Role))})
     || Role <- [client, server]],
    ok = gen_rpc_test_node:stop_app(client(Config)),
    ?assertEqual(ok, start_here(Config, [{max_concurrent_calls, 7}, {kill_on_cancel, true},
                                         {compress, 6}, {compress_context, true},
                                         {compression_threshold, 99}])),
    On = #{max_running => infinity, tell_cancels => false, compress => 6, compress_context => true,
           compression_threshold => 99},
    ?assertEqual(On, maps:with(maps:keys(Off), Of(client))),
    ?assertEqual(On#{max_running := 7, tell_cancels := true},
                 maps:with(maps:keys(Off), Of(server))).

%%% Helpers

client(Config) -> proplists:get_value(client, Config).

server(Config) -> proplists:get_value(server, Config).

pair(Config) -> {client(Config), server(Config)}.

not_shown(Secret, Text) ->
    ?assertEqual(nomatch, string:find(Text, Secret)).

%% As from a sys.config with these settings and no others.
start(Config, Settings) ->
    Client = client(Config),
    ok = gen_rpc_test_events:clear(Client),
    case run(Client, fun() -> start_with(Settings) end) of
        ok -> ok;
        {error, {Reason, {gen_rpc_app, start, _}}} -> {error, Reason}
    end.

%% On a free port, unless the settings name one.
start_here(Config, Settings) ->
    start(Config, lists:ukeymerge(1, Settings, [{tcp_server_port, 0}])).

start_with(Settings) ->
    [ok = application:unset_env(gen_rpc, Key) || {Key, _} <- application:get_all_env(gen_rpc)],
    [ok = application:set_env(gen_rpc, Key, Value) || {Key, Value} <- Settings],
    application:start(gen_rpc).
