%% SPDX-License-Identifier: Apache-2.0
%% Code shipping: anonymous functions of a module that the other node lacks run there when both sides
%% allow it, by whatever function they are sent; and what is never loaded, whoever sends it.
-module(gen_rpc_code_SUITE).

-behaviour(ct_suite).

-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2,
         end_per_testcase/2]).
-export([off_unless_both_allow_it/1, by_every_function/1, wherever_it_is/1,
         offered_once_for_each_connection/1, each_version_anew/1, many_at_once/1]).
-export([other_version_stays/1, file_on_the_path_wins/1, first_of_two_stays/1,
         whitelist_is_complete/1,
         blacklisted_is_not_loaded/1, on_load_is_refused/1, changed_file_is_not_sent/1,
         nothing_but_what_was_offered/1, offers_make_no_atoms/1, nonsense_is_refused/1,
         casts_bring_no_code/1]).
-export([count_here/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).

-define(TARGET, gen_rpc_test_target).
-define(ON, [{fun_code_shipping, true}]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [off_unless_both_allow_it, by_every_function, wherever_it_is,
     offered_once_for_each_connection, each_version_anew, many_at_once,
     other_version_stays, file_on_the_path_wins, first_of_two_stays, whitelist_is_complete,
     blacklisted_is_not_loaded, on_load_is_refused, changed_file_is_not_sent,
     nothing_but_what_was_offered, offers_make_no_atoms, nonsense_is_refused,
     casts_bring_no_code].

init_per_suite(Config) ->
    [{pair, gen_rpc_test_pair:start()} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop(pair(Config)).

%% Each case has modules of its own, in a directory that only the client knows.
init_per_testcase(Case, Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), Case),
    ok = filelib:ensure_path(Dir),
    {Client, _} = pair(Config),
    true = run(Client, fun() -> code:add_pathz(Dir) end),
    [{dir, Dir}, {module, list_to_atom(lists:concat([shipped_, Case]))} | Config].

end_per_testcase(_Case, Config) ->
    {Client, _} = pair(Config),
    _ = run(Client, fun() -> code:del_path(dir(Config)) end),
    gen_rpc_test_pair:finish(pair(Config)).

%%% What is loaded

%% Without the setting on one side, as with rpc: the function's module is not there. With it on both
%% sides it runs, and the module is there from then on.
off_unless_both_allow_it(Config) ->
    Module = make_module(Config, 1),
    [begin
         {Client, #{node := Node} = Server} = restart(Config, OnClient, OnServer),
         ?assertMatch({badrpc, {'EXIT', {undef, _}}},
                      run(Client, fun() -> gen_rpc:call(Node, Module:function(a)) end)),
         ?assertNot(is_loaded(Server, Module))
     end || {OnClient, OnServer} <- [{[], []}, {?ON, []}, {[], ?ON}]],
    {Client, #{node := Node} = Server} = restart(Config, ?ON, ?ON),
    ?assertEqual({1, a}, run(Client, fun() -> gen_rpc:call(Node, Module:function(a)) end)),
    ?assert(is_loaded(Server, Module)),
    ?assertMatch([#{module := _, reason := ok}],
                 gen_rpc_test_pair:lines(Server, "code loaded", 1)),
    %% What is loaded is the module, whole.
    ?assertEqual(1, run(Client, fun() -> gen_rpc:call(Node, Module, version, []) end)).

%% Calls, casts, broadcast casts and requests of each kind bring the code along.
by_every_function(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, ?ON, ?ON),
    ok = run(Server, fun ?TARGET:start_counter/0),
    Ways = [fun(F) -> gen_rpc:call(Node, F) end,
            fun(F) -> gen_rpc:call(Node, F, 5000) end,
            fun(F) -> gen_rpc:call(Node, erlang, apply, [F, []]) end,
            fun(F) -> gen_rpc:call({Node, key}, F) end,
            fun(F) -> gen_rpc:cast(Node, erlang, apply, [F, []]) end,
            fun(F) -> gen_rpc:safe_cast({Node, new1}, erlang, apply, [F, []]) end,
            fun(F) -> gen_rpc:ordered_cast(Node, erlang, apply, [F, []]) end,
            fun(F) -> gen_rpc:yield(gen_rpc:async_call(Node, erlang, apply, [F, []])) end,
            fun(F) -> gen_rpc:yield(gen_rpc:async_call({Node, new2}, erlang, apply, [F, []])) end,
            fun(F) -> gen_rpc:multicall([Node], erlang, apply, [F, []]) end,
            fun(F) -> gen_rpc:multicall([{Node, new3}, Node], erlang, apply, [F, []], 5000) end,
            fun(F) -> gen_rpc:eval_everywhere([Node], erlang, apply, [F, []]) end,
            fun(F) -> gen_rpc_erpc:call(Node, F) end,
            fun(F) -> gen_rpc_erpc:cast(Node, F) end,
            fun(F) -> gen_rpc_erpc:multicall([Node, {Node, new4}], F) end,
            fun(F) -> gen_rpc_erpc:multicast([Node, {Node, new5}], F) end,
            fun(F) -> gen_rpc_erpc:receive_response(gen_rpc_erpc:send_request(Node, F)) end],
    [begin
         Module = make_module(Config, list_to_atom(lists:concat([module(Config), "_", I])), I),
         Counted = length(run(Server, fun ?TARGET:counted/0)),
         _ = run(Client, fun() -> Way(Module:counting(?MODULE)) end),
         ok = wait(fun() -> length(run(Server, fun ?TARGET:counted/0)) > Counted end),
         ?assertEqual(I, lists:last(run(Server, fun ?TARGET:counted/0)))
     end || {I, Way} <- lists:zip(lists:seq(1, length(Ways)), Ways)].

%% For the functions of these modules, which know only whom to call.
count_here(Term) ->
    ?TARGET:count(Term).

%% Functions are found inside of arguments and of each other, and of several modules.
wherever_it_is(Config) ->
    {Client, #{node := Node}} = restart(Config, ?ON, ?ON),
    [begin
         Module = make_module(Config, list_to_atom(lists:concat([module(Config), "_", I])), I),
         ?assertEqual({I, x},
                      run(Client, fun() -> gen_rpc:call(Node, ?TARGET, call_inside,
                                                        [Hide(Module:function(x))]) end))
     end || {I, Hide} <- lists:zip(lists:seq(1, 6),
                                   [fun(F) -> F end, fun(F) -> [a, F] end, fun(F) -> [a | F] end,
                                    fun(F) -> {a, {F}} end, fun(F) -> #{a => #{b => F}} end,
                                    fun(F) -> #{F => a} end])],
    Outer = make_module(Config, list_to_atom(lists:concat([module(Config), "_outer"])), 7),
    Inner = make_module(Config, list_to_atom(lists:concat([module(Config), "_inner"])), 8),
    {7, Fun} = run(Client, fun() -> gen_rpc:call(Node, Outer:function(Inner:function(y))) end),
    ?assert(is_function(Fun)),
    ?assertEqual({8, y}, run(Client, fun() -> gen_rpc:call(Node, Inner:function(y)) end)).

%% After the first time a function costs no other request: two more frames the first time (three, if
%% the code is wanted), none later; anew on another connection.
offered_once_for_each_connection(Config) ->
    Module = make_module(Config, 1),
    {Client, #{node := Node}} = restart(Config, ?ON, ?ON),
    Frames = fun(Dest) ->
                     Out = fun() ->
                                   maps:get(frames_out, gen_rpc_test_node:connection(Client, Dest))
                           end,
                     Before = Out(),
                     {1, a} = run(Client, fun() -> gen_rpc:call(Dest, Module:function(a)) end),
                     Out() - Before
             end,
    Connect = fun(Dest) -> run(Client, fun() -> gen_rpc:call(Dest, erlang, node, []) end) end,
    Other = {Node, other},
    [Node, Node] = [Connect(Dest) || Dest <- [Node, Other]],
    ?assertEqual([3, 1, 1, 2, 1], [Frames(Dest) || Dest <- [Node, Node, Node, Other, Other]]).

%% The client may load a new version, which the server does not get: it has one. What the function
%% then does is to fail, as with rpc.
each_version_anew(Config) ->
    Module = make_module(Config, 1),
    {Client, #{node := Node}} = restart(Config, ?ON, ?ON),
    Call = fun() -> run(Client, fun() -> gen_rpc:call(Node, Module:function(a)) end) end,
    ?assertEqual({1, a}, Call()),
    Module = make_module(Config, 2),
    run(Client, fun() -> code:purge(Module), code:load_file(Module) end),
    ?assertMatch({badrpc, {'EXIT', {{badfun, _}, _}}}, Call()),
    ?assertEqual(1, run(Client, fun() -> gen_rpc:call(Node, Module, version, []) end)).

%% A hundred callers with the same new function, over several connections: each of them gets its
%% result, and the module is loaded once.
many_at_once(Config) ->
    Module = make_module(Config, 1),
    {Client, #{node := Node} = Server} = restart(Config, ?ON, ?ON),
    Results = run(Client,
                  fun() ->
                          Call = fun(I) -> gen_rpc:call({Node, I rem 5}, Module:function(I)) end,
                          gen_rpc_test_task:results(gen_rpc_test_task:start(100, Call))
                  end),
    ?assertEqual([{1, I} || I <- lists:seq(1, 100)], Results),
    ?assertEqual(1, length(gen_rpc_test_pair:lines(Server, "code loaded"))).

%%% What is never loaded

%% A module that is loaded, in another version, stays what it is.
other_version_stays(Config) ->
    Module = make_module(Config, 1),
    {Client, #{node := Node} = Server} = restart(Config, ?ON, ?ON),
    Code = compile(Module, 2),
    {module, Module} = run(Server, fun() -> code:load_binary(Module, "here", Code) end),
    ?assertMatch({badrpc, {'EXIT', {{badfun, _}, _}}},
                 run(Client, fun() -> gen_rpc:call(Node, Module:function(a)) end)),
    ?assertEqual({2, "here"}, run(Server, fun() -> {Module:version(), code:which(Module)} end)).

%% So does one that is not loaded yet, but would be when it is called.
file_on_the_path_wins(Config) ->
    Module = make_module(Config, 1),
    {Client, #{node := Node} = Server} = restart(Config, ?ON, ?ON),
    Dir = filename:join(dir(Config), "server"),
    ok = filelib:ensure_path(Dir),
    ok = file:write_file(beam(Dir, Module), compile(Module, 2)),
    true = run(Server, fun() -> code:add_pathz(Dir) end),
    ?assertMatch({badrpc, {'EXIT', {{badfun, _}, _}}},
                 run(Client, fun() -> gen_rpc:call(Node, Module:function(a)) end)),
    ?assertEqual(2, run(Client, fun() -> gen_rpc:call(Node, Module, version, []) end)),
    true = run(Server, fun() -> code:del_path(Dir) end).

%% Of many versions that arrive at the same time one is loaded, whole, and no other one after it.
first_of_two_stays(Config) ->
    Module = module(Config),
    Versions = lists:seq(1, 20),
    Codes = [{Name, code:module_md5(Code), Code}
             || Name <- [atom_to_binary(Module)], Code <- [compile(Module, V) || V <- Versions]],
    {_, Server} = restart(Config, ?ON, ?ON),
    Results = run(Server,
                  fun() ->
                          Load = fun(I) -> gen_rpc_code:serve({load, [lists:nth(I, Codes)]}) end,
                          gen_rpc_test_task:results(gen_rpc_test_task:start(20, Load))
                  end),
    ?assertEqual(1, length([ok || {return, [ok]} <- Results])),
    ?assertEqual(19, length([ok || {return, [{error, refused}]} <- Results])),
    [Stays] = [V || {V, {return, [ok]}} <- lists:zip(Versions, Results)],
    ?assertEqual(Stays, run(Server, fun() -> Module:version() end)).

%% A whitelist names what may run: code of others is not part of it, though its module is listed.
whitelist_is_complete(Config) ->
    Module = make_module(Config, 1),
    {Client, #{node := Node} = Server} =
        restart(Config, ?ON, ?ON ++ [{rpc_module_control, whitelist},
                                     {rpc_module_list, [Module, erlang]}]),
    ?assertMatch({badrpc, _}, run(Client, fun() -> gen_rpc:call(Node, Module:function(a)) end)),
    ?assertNot(is_loaded(Server, Module)).

blacklisted_is_not_loaded(Config) ->
    Module = make_module(Config, 1),
    Other = make_module(Config, list_to_atom(lists:concat([Module, "_other"])), 2),
    {Client, #{node := Node} = Server} =
        restart(Config, ?ON, ?ON ++ [{rpc_module_control, blacklist}, {rpc_module_list, [Module]}]),
    ?assertEqual({badrpc, unauthorized},
                 run(Client, fun() -> gen_rpc:call(Node, Module:function(a)) end)),
    ?assertNot(is_loaded(Server, Module)),
    ?assertEqual({2, a}, run(Client, fun() -> gen_rpc:call(Node, Other:function(a)) end)).

%% Loading runs nothing: a module that wants to, with which a native library could come, is refused.
on_load_is_refused(Config) ->
    Module = module(Config),
    Code = compile(Module, 1, [{attribute, 1, on_load, {version, 0}}]),
    {_, Server} = restart(Config, ?ON, ?ON),
    ?assertEqual({return, [{error, on_load_not_allowed}]}, load(Server, Module, Code)),
    ?assertNot(is_loaded(Server, Module)).

%% If the file is not what the client runs, the function would not find its code in it.
changed_file_is_not_sent(Config) ->
    Module = make_module(Config, 1),
    {Client, #{node := Node} = Server} = restart(Config, ?ON, ?ON),
    {module, Module} = run(Client, fun() -> code:ensure_loaded(Module) end),
    Module = make_module(Config, 2),
    ?assertMatch({badrpc, {'EXIT', {undef, _}}},
                 run(Client, fun() -> gen_rpc:call(Node, Module:function(a)) end)),
    ?assertNot(is_loaded(Server, Module)).

%% Code that is not what it is called, is damaged, or is no code at all.
nothing_but_what_was_offered(Config) ->
    Module = module(Config),
    Name = atom_to_binary(Module),
    Code = compile(Module, 1),
    MD5 = code:module_md5(Code),
    {_, Server} = restart(Config, ?ON, ?ON),
    Half = binary:part(Code, 0, byte_size(Code) div 2),
    Wares = [{Name, MD5, compile(Module, 2)}, {Name, <<0:128>>, Code}, {Name, MD5, Half},
             {Name, MD5, <<>>}, {Name, MD5, <<"FOR1">>}, {Name, <<>>, <<>>},
             {Name, MD5, compile(list_to_atom(lists:concat([Module, "_x"])), 1)},
             {<<"lists">>, MD5, Code}, {<<Name/binary, "_y">>, MD5, Code}],
    [?assertMatch({I, {return, [{error, _}]}},
                  {I, run(Server, fun() -> gen_rpc_code:serve({load, [Ware]}) end)})
     || {I, Ware} <- lists:zip(lists:seq(1, length(Wares)), Wares)],
    ?assertNot(is_loaded(Server, Module)),
    ?assertEqual({return, [ok]}, load(Server, Module, Code)).

%% Thousands of names that are offered, and not brought, leave no atom behind.
offers_make_no_atoms(Config) ->
    {Client, #{node := Node} = Server} = restart(Config, ?ON, ?ON),
    Node = run(Client, fun() -> gen_rpc:call(Node, erlang, node, []) end),
    Offer = fun(I) ->
                    Names = [iolist_to_binary(["unheard_of_", integer_to_list(I * 100 + J)])
                             || J <- lists:seq(1, 100)],
                    {Names, raw(Client, Node, {offer, [{Name, <<0:128>>} || Name <- Names]})}
            end,
    _ = Offer(0),
    Before = run(Server, fun() -> erlang:system_info(atom_count) end),
    [?assertEqual({return, Names}, Answer) || I <- lists:seq(1, 20), {Names, Answer} <- [Offer(I)]],
    ?assertEqual(Before, run(Server, fun() -> erlang:system_info(atom_count) end)).

%% Names that are none, or that would lead out of the directories of the code path, are not wanted;
%% what is not of the form is refused. The connection goes on.
nonsense_is_refused(Config) ->
    {Client, #{node := Node}} = restart(Config, ?ON, ?ON),
    Node = run(Client, fun() -> gen_rpc:call(Node, erlang, node, []) end),
    Names = [<<>>, <<"../x">>, <<"a/b">>, <<"/etc/passwd">>, <<"a b">>, <<"a\n">>, <<0>>, <<255>>,
             binary:copy(<<"x">>, 256), binary:copy(<<"x">>, 100000), x, "x", 1, {}, []],
    ?assertEqual({return, []}, raw(Client, Node, {offer, [{Name, <<0:128>>} || Name <- Names]})),
    ?assertEqual({return, []}, raw(Client, Node, {offer, [a, {a}, {<<"a">>, b}, {<<"a">>, 1, 2}]})),
    ?assertEqual({return, [{error, invalid}]}, raw(Client, Node, {load, [{a, b, c}, x]})),
    [?assertEqual({refused, invalid_request}, raw(Client, Node, Term))
     || Term <- [offer, {offer}, {offer, a}, {offer, [a | b]}, {load, {}}, {other, []},
                 {offer, [], []}, [], 1]],
    ?assertEqual(Node, run(Client, fun() -> gen_rpc:call(Node, erlang, node, []) end)).

%% Only a call can bring code: a cast could not be answered.
casts_bring_no_code(Config) ->
    Module = module(Config),
    Code = compile(Module, 1),
    Ware = {atom_to_binary(Module), code:module_md5(Code), Code},
    Body = gen_rpc_codec:encode_code({load, [Ware]}),
    {Client, #{node := Node} = Server} = restart(Config, ?ON, ?ON),
    run(Client,
        fun() ->
                Node = gen_rpc:call(Node, erlang, node, []),
                {ok, Port} = gen_rpc_registry:lookup(Node),
                ok = gen_rpc_port:cast(Port, 0, infinity, <<>>, Body),
                ok = gen_rpc_port:ordered(Port, 0, infinity, <<>>, Body)
        end),
    ?assertMatch([#{reason := invalid_request}, #{reason := invalid_request}],
                 gen_rpc_test_pair:lines(Server, "cast refused", 2)),
    ?assertNot(is_loaded(Server, Module)).

%%% Helpers

pair(Config) -> proplists:get_value(pair, Config).

dir(Config) -> proplists:get_value(dir, Config).

module(Config) -> proplists:get_value(module, Config).

restart(Config, ClientSettings, ServerSettings) ->
    gen_rpc_test_pair:restart(pair(Config), ClientSettings, ServerSettings).

is_loaded(Node, Module) ->
    run(Node, fun() -> erlang:module_loaded(Module) end).

%% What has to do with code, as the client sends it, and what the server makes of it.
raw(Client, Node, Request) ->
    run(Client,
        fun() ->
                {ok, Port} = gen_rpc_registry:lookup(Node),
                Ref = make_ref(),
                ok = gen_rpc_port:call(Port, erlang:unique_integer([positive]), infinity,
                                       term_to_binary(Ref), gen_rpc_codec:encode_code(Request)),
                receive {Ref, Reply} when is_binary(Reply) -> gen_rpc_result:decode(Reply) end
        end).

load(Node, Module, Code) ->
    run(Node, fun() -> gen_rpc_code:serve({load, [{atom_to_binary(Module), code:module_md5(Code),
                                                   Code}]}) end).

%% A module of the case, in the directory of the client, with this for a version.
make_module(Config, Version) ->
    make_module(Config, module(Config), Version).

make_module(Config, Module, Version) ->
    ok = file:write_file(beam(dir(Config), Module), compile(Module, Version)),
    Module.

beam(Dir, Module) ->
    filename:join(Dir, atom_to_list(Module) ++ ".beam").

compile(Module, Version) ->
    compile(Module, Version, []).

%% version() -> Version. function(X) -> fun() -> {Version, X} end.
%% counting(M) -> fun() -> M:count_here(Version) end.
compile(Module, Version, Attributes) ->
    Source = ["version() -> ", io_lib:format("~p", [Version]), ".\n",
              "function(X) -> fun() -> {version(), X} end.\n",
              "counting(M) -> fun() -> M:count_here(version()) end.\n"],
    Forms = [{attribute, 1, module, Module},
             {attribute, 1, export, [{version, 0}, {function, 1}, {counting, 1}]} |
             Attributes] ++ [form(Line) || Line <- string:lexemes(lists:flatten(Source), "\n")],
    {ok, Module, Code} = compile:forms(Forms),
    Code.

form(Line) ->
    {ok, Tokens, _} = erl_scan:string(Line),
    {ok, Form} = erl_parse:parse_form(Tokens),
    Form.
