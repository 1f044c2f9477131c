%% SPDX-License-Identifier: Apache-2.0
%% Module control: what a whitelist or a blacklist lets through, by whatever function it is asked for,
%% on another node and on the own one; that names which are not allowed never become atoms; and how
%% the settings are changed while the node runs.
-module(gen_rpc_policy_SUITE).

-behaviour(ct_suite).

-include_lib("proper/include/proper.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2,
         end_per_testcase/2]).
-export([whitelist_for_every_request/1, blacklist_for_every_request/1, disabled_lets_all_pass/1,
         own_node_obeys_too/1, broadcasts_need_a_name/1, functions_are_calls_of_their_module/1,
         whitelist_makes_no_atoms/1, allowed_module_is_loaded/1,
         name_of_the_caller_is_known/1, name_is_known_after_reconfigure/1,
         names_of_nodes_are_limited/1, new_atoms_among_arguments/1, refused_before_decoding/1,
         names_in_every_encoding/1, name_is_that_of_the_request/1, any_bytes_have_a_name_or_none/1,
         refusals_are_logged/1, versions/1]).
-export([reconfigured_for_the_next_request/1, reconfigured_from_any_state/1,
         wrong_settings_change_nothing/1, fixed_settings_need_a_restart/1,
         reconfigured_for_new_connections/1, reconfigured_during_a_handshake/1,
         reconfigure_without_the_application/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).

-define(TARGET, gen_rpc_test_target).
-define(UNAUTHORIZED, {badrpc, unauthorized}).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [whitelist_for_every_request, blacklist_for_every_request, disabled_lets_all_pass,
     own_node_obeys_too, broadcasts_need_a_name, functions_are_calls_of_their_module,
     whitelist_makes_no_atoms, allowed_module_is_loaded, name_of_the_caller_is_known,
     name_is_known_after_reconfigure, names_of_nodes_are_limited, new_atoms_among_arguments, refused_before_decoding, names_in_every_encoding,
     name_is_that_of_the_request, any_bytes_have_a_name_or_none, refusals_are_logged, versions,
     reconfigured_for_the_next_request, reconfigured_from_any_state,
     wrong_settings_change_nothing, fixed_settings_need_a_restart,
     reconfigured_for_new_connections, reconfigured_during_a_handshake,
     reconfigure_without_the_application].

init_per_suite(Config) ->
    [{pair, gen_rpc_test_pair:start()} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(pair(Config)).

init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, Config) ->
    gen_rpc_test_pair:finish(pair(Config)).

%%% What is allowed

%% Of the functions of two modules those of the one that is listed run, and those of the other are
%% refused: calls of each kind, casts of each kind, with a version, with a key.
whitelist_for_every_request(Config) ->
    allows_and_refuses(Config, control(whitelist, [lists]), lists, string).

%% With a blacklist it is the other way round.
blacklist_for_every_request(Config) ->
    allows_and_refuses(Config, control(blacklist, [string]), lists, string).

%% The list alone does nothing.
disabled_lets_all_pass(Config) ->
    {Client, #{node := Node}} = restart(Config, [{rpc_module_list, [lists]}]),
    ?assertEqual(3, run(Client, fun() -> gen_rpc:call(Node, string, length, ["abc"]) end)).

allows_and_refuses(Config, Control, Allowed, Refused) ->
    {Client, #{node := Node} = Server} = restart(Config, Control),
    Results = fun(Module) -> run(Client, fun() -> results(Node, Module) end) end,
    ?assertEqual(["cba", "cba", "cba", "cba", "cba", {["cba", "cba"], []}, "cba", [{ok, "cba"}],
                  "cba"], Results(Allowed)),
    ?assertEqual([?UNAUTHORIZED, ?UNAUTHORIZED, ?UNAUTHORIZED, ?UNAUTHORIZED, ?UNAUTHORIZED,
                  {[?UNAUTHORIZED, ?UNAUTHORIZED], []},
                  {error, {erpc, unauthorized}}, [{error, {erpc, unauthorized}}],
                  {error, {erpc, unauthorized}}], Results(Refused)),
    %% What a cast does shows on the other side only: each of them is refused there.
    ok = gen_rpc_test_events:clear(Server),
    run(Client, fun() -> cast_each_way(Node, Refused) end),
    Lines = gen_rpc_test_pair:lines(Server, "request refused", 6),
    ?assertEqual([{atom_to_binary(Refused), unauthorized}],
                 lists:usort([{M, R} || #{module := M, reason := R} <- Lines])),
    ok = gen_rpc_test_events:clear(Server),
    run(Client,
        fun() ->
                cast_each_way(Node, Allowed),
                Node = gen_rpc:call({Node, last}, Allowed, last, [[Node]])
        end),
    ?assertEqual([], gen_rpc_test_pair:lines(Server, "request refused")).

results(Node, Module) ->
    Dest = {Node, key},
    Args = ["abc"],
    [gen_rpc:call(Node, Module, reverse, Args),
     gen_rpc:call(Dest, Module, reverse, Args, 5000),
     gen_rpc:call(Dest, {Module, version_of(Module)}, reverse, Args),
     gen_rpc:yield(gen_rpc:async_call(Node, Module, reverse, Args)),
     gen_rpc:yield(gen_rpc:async_call({Node, new}, Module, reverse, Args)),
     gen_rpc:multicall([Node, Dest], Module, reverse, Args),
     erpc(fun() -> gen_rpc_erpc:call(Node, Module, reverse, Args) end),
     gen_rpc_erpc:multicall([Node], Module, reverse, Args),
     erpc(fun() ->
                  Request = gen_rpc_erpc:send_request(Node, Module, reverse, Args),
                  gen_rpc_erpc:receive_response(Request)
          end)].

erpc(Fun) ->
    try Fun() catch Class:Reason -> {Class, Reason} end.

cast_each_way(Node, Module) ->
    true = gen_rpc:cast(Node, Module, reverse, ["abc"]),
    true = gen_rpc:safe_cast(Node, Module, reverse, ["abc"]),
    true = gen_rpc:ordered_cast({Node, key}, Module, reverse, ["abc"]),
    abcast = gen_rpc:eval_everywhere([Node], Module, reverse, ["abc"]),
    ok = gen_rpc_erpc:cast(Node, Module, reverse, ["abc"]),
    ok = gen_rpc_erpc:multicast([Node], Module, reverse, ["abc"]).

version_of(Module) ->
    [Version] = proplists:get_value(vsn, Module:module_info(attributes)),
    Version.

%% The rules of a node hold for its own calls as well.
own_node_obeys_too(Config) ->
    {_, Server} = restart(Config, control(whitelist, [lists])),
    run(Server,
        fun() ->
                [begin
                     ?assertEqual("cba", gen_rpc:call(Dest, lists, reverse, ["abc"])),
                     ?assertEqual(?UNAUTHORIZED, gen_rpc:call(Dest, string, length, ["abc"])),
                     ?assertEqual(?UNAUTHORIZED,
                                  gen_rpc:yield(gen_rpc:async_call(Dest, string, length, ["abc"]))),
                     ?assertEqual({[?UNAUTHORIZED], []},
                                  gen_rpc:multicall([Dest], string, length, ["abc"])),
                     ?assertError({erpc, unauthorized},
                                  gen_rpc_erpc:call(Dest, string, length, ["abc"])),
                     true = gen_rpc:cast(Dest, ?TARGET, count, [cast]),
                     true = gen_rpc:ordered_cast(Dest, ?TARGET, count, [ordered]),
                     abcast = gen_rpc:abcast([Dest], some_name, message),
                     ?assertEqual({[], [Dest]}, gen_rpc:sbcast([Dest], some_name, message))
                 end || Dest <- [node(), {node(), key}]]
        end),
    Lines = gen_rpc_test_pair:lines(Server, "request refused", 12),
    ?assertEqual([?TARGET], lists:usort([M || #{module := M} <- Lines, M =/= string])),
    ?assertEqual([some_name], lists:usort([N || #{name := N} <- Lines])).

%% A message to a registered process can be as good as a call, so its name must be allowed like a
%% module's. Who may call erlang, which can send, may send to anybody.
broadcasts_need_a_name(Config) ->
    Sent = fun(Control) ->
                   {Client, #{node := Node} = Server} = restart(Config, Control),
                   ok = run(Server, fun ?TARGET:start_counter/0),
                   {Good, _} = run(Client,
                                   fun() ->
                                           abcast = gen_rpc:abcast([Node], ?TARGET, {count, a}),
                                           gen_rpc:sbcast([Node], ?TARGET, {count, s})
                                   end),
                   {Good =:= [Node], run(Server, fun ?TARGET:counted/0)}
           end,
    Both = {true, [a, s]},
    None = {false, []},
    ?assertEqual([Both, None, Both, Both, None, None, Both],
                 [Sent(Control) || Control <- [[],
                                               control(whitelist, [lists]),
                                               control(whitelist, [?TARGET]),
                                               control(whitelist, [erlang]),
                                               control(blacklist, [?TARGET]),
                                               control(blacklist, [erlang]),
                                               control(blacklist, [lists])]]).

%% A function among the arguments runs with the rights of who calls it. So its module must be
%% allowed, wherever it is hidden, as must be that of a function that is called by itself.
functions_are_calls_of_their_module(Config) ->
    {Client, #{node := Node} = Server} =
        restart(Config, control(whitelist, [lists, ?TARGET, ?MODULE])),
    {module, ?MODULE} = run(Server, fun() -> code:ensure_loaded(?MODULE) end),
    %% Not as a literal: that would be a part of the code of the functions below.
    Hidden = erlang:make_fun(proplists:get_value(module, [{module, os}]), getpid, 0),
    run(Client,
        fun() ->
                ?assertEqual([2, 4], gen_rpc:call(Node, lists, map, [fun(N) -> N * 2 end, [1, 2]])),
                [?assertEqual({Arg, ?UNAUTHORIZED},
                              {Arg, gen_rpc:call(Node, ?TARGET, echo, [Arg])})
                 || Arg <- [Hidden, [Hidden], [a | Hidden], {a, {Hidden}}, #{a => Hidden},
                            #{Hidden => a}, fun() -> Hidden end, fun() -> [#{b => Hidden}] end]],
                ?assertEqual(?UNAUTHORIZED, gen_rpc:call(Node, lists, foreach, [Hidden, [1]])),
                %% That would be erlang:apply/2.
                ?assertEqual(?UNAUTHORIZED, gen_rpc:call(Node, fun() -> 1 end))
        end),
    {Client1, _} = restart(Config, control(whitelist, [erlang, ?MODULE])),
    ?assertEqual(Node, run(Client1, fun() -> gen_rpc:call(Node, fun() -> node() end) end)),
    ?assertEqual(?UNAUTHORIZED, run(Client1, fun() -> gen_rpc:call(Node, Hidden) end)).

%%% Atoms

%% Thousands of names that a node has never heard of don't become atoms there: neither modules nor
%% processes, in calls and casts of any kind.
whitelist_makes_no_atoms(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, control(whitelist, [lists])),
    _ = run(Client, fun() -> refused_by_name(Node, warm, 1) end),
    Before = atoms(Server),
    _ = run(Client, fun() -> refused_by_name(Node, unheard_of, 1000) end),
    ?assertEqual(Before, atoms(Server)).

refused_by_name(Node, Prefix, Count) ->
    [begin
         Name = list_to_atom(lists:concat([Prefix, I])),
         ?UNAUTHORIZED = gen_rpc:call(Node, Name, Name, [Name]),
         ?UNAUTHORIZED = gen_rpc:call(Node, {Name, Name}, Name, []),
         true = gen_rpc:cast(Node, Name, Name, [Name]),
         true = gen_rpc:ordered_cast(Node, Name, Name, [Name]),
         abcast = gen_rpc:abcast([Node], Name, Name),
         {[], [Node]} = gen_rpc:sbcast([Node], Name, Name)
     end || I <- lists:seq(1, Count)].

%% The functions of a module that is allowed are known, and with them all of its atoms, also when
%% nobody has loaded it yet.
allowed_module_is_loaded(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, control(whitelist, [sofs])),
    %% In two parts: the server loads this suite, and with it all of its atoms.
    Function = lists:concat(["is_", sofs, "_set"]),
    ?assertNot(run(Server, fun() -> erlang:module_loaded(sofs) end)),
    ?assertError(badarg, run(Server, fun() -> list_to_existing_atom(Function) end)),
    ?assertEqual(false, run(Client,
                            fun() ->
                                    gen_rpc:call(Node, sofs, list_to_atom(Function), [none])
                            end)).

%% A caller may send its own pid, and whatever else has the name of its node in it.
name_of_the_caller_is_known(Config) ->
    {Client, #{node := Node}} = restart(Config, control(whitelist, [?TARGET])),
    run(Client,
        fun() ->
                [?assertEqual(Term, gen_rpc:call(Node, ?TARGET, echo, [Term]))
                 || Term <- [self(), make_ref(), hd(erlang:ports()), node()]]
        end).

%% Also when the whitelist came after the connection. (A new node, whose name nobody knows yet.)
name_is_known_after_reconfigure(Config) ->
    {_, #{node := Node} = Server} = restart(Config, []),
    Client = gen_rpc_test_node:start([gen_rpc_test_node:env([Server])]),
    Node = run(Client, fun() -> gen_rpc:call(Node, erlang, node, []) end),
    ok = reconfigure(Server, control(whitelist, [?TARGET])),
    wait(fun() ->
                 run(Client, fun() -> gen_rpc:call(Node, ?TARGET, echo, [self()]) =:= self() end)
         end),
    ok = gen_rpc_test_node:stop(Client).

%% The names of nodes are not without a limit.
names_of_nodes_are_limited(Config) ->
    {_, Server} = restart(Config, control(whitelist, [lists])),
    Admit = fun(I) -> gen_rpc_gate:admit(<<"name-", (integer_to_binary(I))/binary, "@host">>) end,
    Before = atoms(Server),
    ok = run(Server, fun() -> lists:foreach(Admit, lists:seq(1, 3000)) end),
    ?assertEqual(1000, atoms(Server) - Before),
    [?assertEqual(ok, run(Server, fun() -> gen_rpc_gate:admit(Name) end))
     || Name <- [<<>>, <<255>>, binary:copy(<<"x">>, 1000)]].

%% Nor do those among the arguments of a function that is allowed: such a request is refused as it
%% is, and the next one is not affected.
new_atoms_among_arguments(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, control(whitelist, [lists])),
    [c, b, a] = run(Client, fun() -> gen_rpc:call(Node, lists, reverse, [[a, b, c]]) end),
    Before = atoms(Server),
    run(Client,
        fun() ->
                [begin
                     New = list_to_atom("never_seen_" ++ integer_to_list(I)),
                     ?assertEqual({badrpc, invalid_request},
                                  gen_rpc:call(Node, lists, reverse, [[New]])),
                     ?assertEqual({badrpc, invalid_request}, gen_rpc:call(Node, lists, New, [])),
                     ?assertError({erpc, invalid_request},
                                  gen_rpc_erpc:call(Node, lists, reverse, [[New]])),
                     true = gen_rpc:cast(Node, lists, reverse, [[New]]),
                     [c, b, a] = gen_rpc:call(Node, lists, reverse, [[a, b, c]])
                 end || I <- lists:seq(1, 200)]
        end),
    ?assertEqual(Before, atoms(Server)).

atoms(Node) ->
    gen_rpc_test_node:call(Node, erlang, system_info, [atom_count]).

%% A request that is not allowed is not decoded, however large or broken the rest of it is.
refused_before_decoding(Config) ->
    {_, Server} = restart(Config, control(whitelist, [lists])),
    run(Server,
        fun() ->
                Args = [lists:seq(1, 100)],
                Refused = iolist_to_binary(gen_rpc_codec:encode(string, length, Args)),
                Allowed = iolist_to_binary(gen_rpc_codec:encode(lists, reverse, Args)),
                [begin
                     Cut = fun(Bytes) -> binary:part(Bytes, 0, byte_size(Bytes) - Less) end,
                     ?assertEqual({refused, unauthorized}, gen_rpc_gate:open(Cut(Refused))),
                     ?assertEqual({refused, invalid_request}, gen_rpc_gate:open(Cut(Allowed)))
                 end || Less <- lists:seq(1, 100)]
        end).

%% Names are the same in every encoding that a node can have sent: Latin-1 and UTF-8, short and long,
%% with a large binary behind or not.
names_in_every_encoding(_Config) ->
    Names = [lists, '', 'Größe', 'дом', '😀', list_to_atom(lists:duplicate(255, $x)),
             list_to_atom(lists:duplicate(255, 16#1F600)), list_to_atom(lists:duplicate(255, $ö))],
    [begin
         Utf8 = atom_to_binary(Name),
         Encoded = [iolist_to_binary(gen_rpc_codec:encode(M, f, Args))
                    || M <- [Name, {Name, "1.0"}], Args <- [[], [a], [binary:copy(<<0>>, 300000)]]],
         Minor = [term_to_binary({Name, f, []}, [{minor_version, V}]) || V <- [0, 1, 2]],
         Latin1 = [<<131, 104, 3, 115, (length(L)), (list_to_binary(L))/binary>>
                   || L <- [atom_to_list(Name)], lists:all(fun(C) -> C < 256 end, L)],
         Broadcast = iolist_to_binary(gen_rpc_codec:encode_broadcast(Name, message)),
         [?assertEqual({ok, Utf8}, gen_rpc_codec:name(Bytes))
          || Bytes <- [Broadcast | Encoded ++ Minor ++ Latin1]]
     end || Name <- Names].

%% The name that is checked is the one of the request that is decoded afterwards.
name_is_that_of_the_request(_Config) ->
    ?assertEqual(true, proper:quickcheck(prop_same_name(), [quiet, {numtests, 2000}])).

prop_same_name() ->
    ?FORALL({Module, Version, Function, Args}, {atom(), any(), atom(), list(any())},
            lists:all(fun(M) ->
                              Bytes = iolist_to_binary(gen_rpc_codec:encode(M, Function, Args)),
                              {M, Function, Args} = gen_rpc_codec:decode(Bytes, []),
                              gen_rpc_codec:name(Bytes) =:= {ok, atom_to_binary(Module)}
                      end, [Module, {Module, Version}])).

%% Whatever a peer sends in its place: it has a name, that of what it decodes to, or it has none.
any_bytes_have_a_name_or_none(_Config) ->
    ?assertEqual(true, proper:quickcheck(prop_any_bytes(), [quiet, {numtests, 20000}])).

prop_any_bytes() ->
    Valid = ?LET({M, F, A}, {atom(), atom(), list(any())},
                 iolist_to_binary(gen_rpc_codec:encode(M, F, A))),
    Damaged = ?LET({Bytes, At, Byte}, {Valid, non_neg_integer(), byte()}, damaged(Bytes, At, Byte)),
    ?FORALL(Bytes, oneof([binary(), Damaged, ?LET(T, any(), term_to_binary(T)),
                          ?LET(T, any(), term_to_binary(T, [compressed]))]),
            case {gen_rpc_codec:name(Bytes), gen_rpc_codec:decode(Bytes, [safe])} of
                {_, invalid} -> true;
                {{ok, Name}, {{M, _Version}, _, _}} -> Name =:= atom_to_binary(M);
                {{ok, Name}, {M, _, _}} -> Name =:= atom_to_binary(M);
                {invalid, _} -> true
            end).

damaged(Bytes, At, Byte) ->
    Where = At rem byte_size(Bytes),
    <<Before:Where/binary, _, Rest/binary>> = Bytes,
    <<Before/binary, Byte, Rest/binary>>.

%%% Beside it

%% The node that refuses says so, in one line for each, with the name and without the arguments.
refusals_are_logged(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, control(whitelist, [lists])),
    run(Client, fun() -> gen_rpc:call(Node, os, cmd, ["secret"]) end),
    ?assertMatch([#{module := <<"os">>, reason := unauthorized}],
                 gen_rpc_test_pair:lines(Server, "request refused", 1)),
    ?assertEqual(nomatch, string:find(gen_rpc_test_events:text(Server), "secret")).

%% A version is that of the attribute vsn, as the compiler makes it or as it is written. Another one,
%% a module without one, and a module that is not there are incompatible. Nothing runs then.
versions(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    ok = run(Server, fun ?TARGET:start_counter/0),
    ok = run(Server, fun() -> load_with_version(versioned_list, "1.2.3") end),
    ok = run(Server, fun() -> load_with_version(versioned_atom, v2) end),
    run(Client,
        fun() ->
                Version = version_of(?TARGET),
                Call = fun(M, V) -> gen_rpc:call(Node, {M, V}, f, []) end,
                ?assertEqual(ok, gen_rpc:call(Node, {?TARGET, Version}, count, [right])),
                ?assertEqual(ran, Call(versioned_list, "1.2.3")),
                ?assertEqual(ran, Call(versioned_atom, v2)),
                ?assertEqual(ran, Call(versioned_atom, [v2])),
                [?assertEqual({M, V, {badrpc, incompatible}}, {M, V, Call(M, V)})
                 || {M, V} <- [{versioned_list, "1.2"}, {versioned_list, ["1.2.3"]},
                               {versioned_atom, v3}, {versioned_atom, [v2, v2]},
                               {no_such_module, v2}, {?TARGET, Version + 1}]],
                true = gen_rpc:cast(Node, {?TARGET, Version + 1}, count, [wrong]),
                true = gen_rpc:cast(Node, {?TARGET, Version}, count, [right]),
                true = gen_rpc:ordered_cast(Node, {?TARGET, Version}, count, [right]),
                ?assertEqual({[{badrpc, incompatible}, ran], []},
                             gen_rpc:multicall([node(), Node], {versioned_atom, v2}, f, [])),
                ?assertEqual({badrpc, incompatible},
                             gen_rpc:yield(gen_rpc:async_call(Node, {?TARGET, none}, f, [])))
        end),
    wait(fun() -> run(Server, fun ?TARGET:counted/0) =:= [right, right, right] end),
    ?assertMatch([#{reason := incompatible}], gen_rpc_test_pair:lines(Server, "cast refused", 1)).

load_with_version(Module, Version) ->
    Forms = [{attribute, 1, module, Module}, {attribute, 1, vsn, Version},
             {attribute, 1, export, [{f, 0}]},
             {function, 1, f, 0, [{clause, 1, [], [], [{atom, 1, ran}]}]}],
    {ok, Module, Code} = compile:forms(Forms),
    {module, Module} = code:load_binary(Module, "", Code),
    ok.

%%% While the node runs

%% New rules are in force for the next request of connections that are open, which stay as they are.
reconfigured_for_the_next_request(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Call = fun() -> run(Client, fun() -> {gen_rpc:call(Node, string, length, ["abc"]),
                                          gen_rpc_registry:lookup(Node)} end) end,
    {3, Connection} = Call(),
    ok = reconfigure(Server, control(whitelist, [lists])),
    ?assertEqual({?UNAUTHORIZED, Connection}, Call()),
    ok = reconfigure(Server, [{rpc_module_list, [string]}]),
    ?assertEqual({3, Connection}, Call()),
    ok = reconfigure(Server, [{rpc_module_control, blacklist}]),
    ?assertEqual({?UNAUTHORIZED, Connection}, Call()),
    ok = reconfigure(Server, [{rpc_module_control, disabled}]),
    ?assertEqual({3, Connection}, Call()).

%% A function that runs is not disturbed; one that comes later is under the new rules.
reconfigured_from_any_state(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Running = gen_rpc_test_task:start(
                fun() -> gen_rpc_test_node:rpc(Client, Server, {?TARGET, wait_at_gate},
                                               [?FUNCTION_NAME])
                end),
    wait(fun() -> run(Server, fun() -> ?TARGET:at_gate(?FUNCTION_NAME) end) end),
    ok = reconfigure(Server, control(whitelist, [])),
    ?assertEqual(?UNAUTHORIZED, run(Client, fun() -> gen_rpc:call(Node, erlang, node, []) end)),
    ok = run(Server, fun() -> ?TARGET:open_gate(?FUNCTION_NAME) end),
    ?assertEqual({through, ?FUNCTION_NAME}, gen_rpc_test_task:result(Running)).

%% A wrong value, or a name that is not known, is an error that says so, in the log as well, and all
%% settings stay as they were.
wrong_settings_change_nothing(Config) ->
    {_, Server} = restart(Config, [{call_receive_timeout, 7000}]),
    [begin
         ok = gen_rpc_test_events:clear(Server),
         ?assertMatch({error, Reason} when element(1, Reason) =:= What,
                      reconfigure(Server, [{call_receive_timeout, 8000}, Wrong])),
         ?assertEqual(7000, gen_rpc_test_node:call(Server, gen_rpc_config, get,
                                                   [call_receive_timeout])),
         [#{level := error, text := Text}] = gen_rpc_test_events:ours(Server),
         ?assertNotEqual(nomatch, string:find(Text, atom_to_list(element(1, Wrong)))),
         ok = gen_rpc_test_node:call(Server, application, unset_env, [gen_rpc, element(1, Wrong)])
     end || {What, Wrong} <- [{invalid_setting, {send_timeout, soon}},
                              {invalid_setting, {rpc_module_control, whitelisted}},
                              {invalid_setting, {rpc_module_list, ["lists"]}},
                              {invalid_setting, {rpc_module_list, [lists | string]}},
                              {unknown_setting, {no_such_setting, 1}}]],
    ok = reconfigure(Server, []),
    ?assertEqual(8000, gen_rpc_test_node:call(Server, gen_rpc_config, get,
                                              [call_receive_timeout])).

%% What only a start can change is refused too, by name, if it is another value.
fixed_settings_need_a_restart(Config) ->
    {_, Server} = restart(Config, []),
    ?assertEqual({error, {restart_needed, [tcp_server_port, max_connections]}},
                 reconfigure(Server, [{tcp_server_port, 1}, {max_connections, 7}])),
    ?assertEqual({error, {restart_needed, [max_connections]}},
                 reconfigure(Server, [{tcp_server_port, 0}])),
    ?assertEqual(ok, reconfigure(Server, [{max_connections, 10000}])).

%% Settings of connections hold for those that are made later; older ones keep theirs.
reconfigured_for_new_connections(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, []),
    Call = fun(Key, Size) ->
                   run(Client, fun() ->
                                       gen_rpc:call({Node, Key}, ?TARGET, echo,
                                                    [binary:copy(<<0>>, Size)])
                               end)
           end,
    ?assertEqual(5000, byte_size(Call(old, 5000))),
    ok = reconfigure(Server, [{max_message_size, 2000}, {max_concurrent_calls, 1},
                              {kill_on_cancel, true}]),
    ?assertEqual(5000, byte_size(Call(old, 5000))),
    ?assertMatch({badrpc, {message_too_big, _, 2000}}, Call(new, 5000)),
    ?assertEqual(1000, byte_size(Call(new, 1000))).

%% A connection that was accepted before, and is authenticated after it, is served by the settings
%% that it was accepted with: all of its parts agree on whether workers are counted.
reconfigured_during_a_handshake(Config) ->
    {_, #{port := Port} = Server} = restart(Config, []),
    {ok, Socket} = gen_tcp:connect("127.0.0.1", Port, [binary, {active, false}]),
    wait(fun() -> half_open(Server) =:= 1 end),
    ok = reconfigure(Server, [{max_concurrent_calls, 1}]),
    ?assertEqual([{false, false}], gen_rpc_test_node:run(Server, fun half_open_settings/0)),
    ok = gen_tcp:close(Socket),
    wait(fun() -> half_open(Server) =:= 0 end).

half_open(Server) ->
    length(gen_rpc_test_node:run(Server, fun half_open_settings/0)).

half_open_settings() ->
    HalfOpen = element(5, sys:get_state(gen_rpc_listener)),
    [begin
         {#{limited := Limited, killing := Killing}, _} = gen_rpc_half_open:take(Port, HalfOpen),
         {Limited, Killing}
     end || Port <- gen_rpc_half_open:ports(HalfOpen)].

reconfigure_without_the_application(Config) ->
    {_, Server} = restart(Config, []),
    ok = gen_rpc_test_node:stop_app(Server),
    ?assertEqual({error, {not_started, gen_rpc}},
                 gen_rpc_test_node:call(Server, gen_rpc, reconfigure, [])).

%%% Helpers

pair(Config) -> proplists:get_value(pair, Config).

%% With these settings of the server.
restart(Config, Settings) ->
    gen_rpc_test_pair:restart(pair(Config), [], Settings).

control(Control, Modules) ->
    [{rpc_module_control, Control}, {rpc_module_list, Modules}].

reconfigure(Node, Settings) ->
    run(Node, fun() ->
                      [ok = application:set_env(gen_rpc, Key, Value) || {Key, Value} <- Settings],
                      gen_rpc:reconfigure()
              end).
