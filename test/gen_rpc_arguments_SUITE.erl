%% SPDX-License-Identifier: Apache-2.0
%% Arguments of wrong types: whatever they are, and in whatever function, they raise badarg, and
%% nothing else happens.
-module(gen_rpc_arguments_SUITE).

-behaviour(ct_suite).

-include_lib("proper/include/proper.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1]).
-export([every_function_is_here/1, wrong_arguments_of_gen_rpc/1, wrong_arguments_of_erpc/1]).

-import(gen_rpc_test_node, [run/2, wait/1]).

-define(MAX, 16#FFFFFFFF).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [every_function_is_here, wrong_arguments_of_gen_rpc, wrong_arguments_of_erpc].

init_per_suite(Config) ->
    {Client, Server} = gen_rpc_test_node:start_pair(),
    [{client, gen_rpc_test_node:keep(Client)}, {server, gen_rpc_test_node:keep(Server)} | Config].

end_per_suite(Config) ->
    gen_rpc_test_pair:stop({proplists:get_value(client, Config),
                            proplists:get_value(server, Config)}).

%% Those without arguments apart.
every_function_is_here(_Config) ->
    [?assertEqual([], [{F, A} || {F, A} <- Module:module_info(exports), A > 0, F =/= module_info]
                      -- [{F, length(Types)} || {F, Types} <- functions(Module)])
     || Module <- [gen_rpc, gen_rpc_erpc]].

wrong_arguments_of_gen_rpc(Config) ->
    nothing_happens(Config, gen_rpc, badarg).

wrong_arguments_of_erpc(Config) ->
    nothing_happens(Config, gen_rpc_erpc, {erpc, badarg}).

%% No connection is made, no process started, and no message sent.
nothing_happens(Config, Module, Reason) ->
    #{node := Node} = proplists:get_value(server, Config),
    run(proplists:get_value(client, Config),
        fun() ->
                Node = gen_rpc:call(Node, erlang, node, []),
                Good = good(Node),
                Before = gen_rpc_test_node:local_resources(),
                ?assertEqual(true, proper:quickcheck(prop_refused(Module, Reason, Good),
                                                     [quiet, {numtests, 5000}, {max_size, 20}])
                             orelse proper:counterexample()),
                wait(fun() -> gen_rpc_test_node:local_resources() =:= Before end),
                ?assertMatch([{Node, _}], gen_rpc_registry:clients())
        end).

prop_refused(Module, Reason, Good) ->
    Functions = functions(Module),
    ?FORALL({Function, Args}, ?SUCHTHAT(Call, wrong_call(Functions, Good),
                                        not is_right(Call, Functions)),
            try apply(Module, Function, Args) of
                _ -> false
            catch
                error:Reason -> process_info(self(), messages) =:= {messages, []};
                _:_ -> false
            end).

%% Any of them may be wrong, and one is.
wrong_call(Functions, Good) ->
    ?LET({Function, Types}, oneof([F || {_, Types} = F <- Functions, wrong_ones(Types) =/= []]),
         ?LET(Wrong, oneof(wrong_ones(Types)),
              {Function, [case I of
                              Wrong -> wrong(Type);
                              _ -> good_or_wrong(Type, Good)
                          end || {I, Type} <- numbered(Types)]})).

%% What is wrong in one form of a function may be right in another one.
is_right({Function, Args}, Functions) ->
    lists:any(fun({F, Types}) ->
                      F =:= Function andalso length(Types) =:= length(Args) andalso
                          lists:all(fun({Type, Arg}) -> is(Type, Arg) end, lists:zip(Types, Args))
              end, Functions).

good_or_wrong(any, _Good) -> any_term();
good_or_wrong(Type, Good) -> frequency([{4, maps:get(Type, Good)}, {1, wrong(Type)}]).

wrong_ones(Types) ->
    [I || {I, Type} <- numbered(Types), Type =/= any].

numbered(Types) ->
    lists:zip(lists:seq(1, length(Types)), Types).

%%% The functions, by the types of their arguments

functions(gen_rpc) ->
    Mfa = [module, function, args],
    [{call, [dest, function_object]}, {call, [dest, function_object, limit]},
     {call, [dest, module, function]}, {call, [dest | Mfa]}, {call, [dest | Mfa] ++ [limit]},
     {call, [dest | Mfa] ++ [limit, limit]},
     {cast, [dest, module, function]}, {cast, [dest | Mfa]}, {cast, [dest | Mfa] ++ [limit]},
     {safe_cast, [dest, module, function]}, {safe_cast, [dest | Mfa]},
     {safe_cast, [dest | Mfa] ++ [limit]}, {ordered_cast, [dest | Mfa]},
     {async_call, [dest, module, function]}, {async_call, [dest | Mfa]},
     {yield, [key]}, {nb_yield, [key]}, {nb_yield, [key, timeout]},
     {multicall, Mfa}, {multicall, [dests | Mfa]}, {multicall, Mfa ++ [timeout]},
     {multicall, [dests | Mfa] ++ [timeout]},
     {eval_everywhere, Mfa}, {eval_everywhere, [dests, module, function]},
     {eval_everywhere, [dests | Mfa]}, {eval_everywhere, [dests | Mfa] ++ [limit]},
     {abcast, [name, any]}, {abcast, [dests, name, any]},
     {sbcast, [name, any]}, {sbcast, [dests, name, any]}];
functions(gen_rpc_erpc) ->
    Mfa = [plain_module, function, args],
    [{call, [dest, function_object]}, {call, [dest, function_object, time]},
     {call, [dest | Mfa]}, {call, [dest | Mfa] ++ [time]},
     {cast, [dest, function_object]}, {cast, [dest | Mfa]},
     {multicast, [dests, function_object]}, {multicast, [dests | Mfa]},
     {multicall, [dests, function_object]}, {multicall, [dests, function_object, time]},
     {multicall, [dests | Mfa]}, {multicall, [dests | Mfa] ++ [time]},
     {send_request, [dest, function_object]}, {send_request, [dest | Mfa]},
     {send_request, [dest, function_object, any, collection]},
     {send_request, [dest | Mfa] ++ [any, collection]},
     {receive_response, [request_id]}, {receive_response, [request_id, time]},
     {receive_response, [collection, time, boolean]},
     {wait_response, [request_id]}, {wait_response, [request_id, time]},
     {wait_response, [collection, time, boolean]},
     {check_response, [any, request_id]}, {check_response, [any, collection, boolean]},
     {reqids_size, [collection]}, {reqids_add, [request_id, any, collection]},
     {reqids_to_list, [collection]}].

%% None of them would do much if it were called: the destination is a new one.
good(Node) ->
    #{dest => {Node, never_used}, dests => [{Node, never_used}, node()],
      module => erlang, plain_module => erlang, function => node, args => [],
      function_object => fun() -> ok end, limit => 1000, timeout => 1000, time => 1000,
      name => no_such_name, key => gen_rpc:async_call(node(), erlang, node, []),
      request_id => gen_rpc_erpc:send_request(node(), timer, sleep, [infinity]),
      collection => gen_rpc_erpc:reqids_new(), boolean => true}.

wrong(Type) ->
    ?SUCHTHAT(Term, any_term(), not is(Type, Term)).

is(dest, {Node, _Key}) -> is_atom(Node);
is(dest, Term) -> is_atom(Term);
is(dests, [Dest | Rest]) -> is(dest, Dest) andalso is(dests, Rest);
is(dests, Term) -> Term =:= [];
is(module, {Module, _Version}) -> is_atom(Module);
is(module, Term) -> is_atom(Term);
is(plain_module, Term) -> is_atom(Term);
is(function, Term) -> is_atom(Term);
is(name, Term) -> is_atom(Term);
is(args, Term) -> is_list(Term);
is(function_object, Term) -> is_function(Term, 0);
is(limit, Term) -> Term =:= undefined orelse is(timeout, Term);
is(timeout, Term) ->
    Term =:= infinity orelse (is_integer(Term) andalso Term >= 0 andalso Term =< ?MAX);
is(time, {abs, Time}) -> is_integer(Time);
is(time, Term) -> is(timeout, Term);
is(key, {Holder, Ref}) -> is_pid(Holder) andalso is_reference(Ref);
is(key, _) -> false;
is(request_id, [Ref | {Owner, _}]) -> is_reference(Ref) andalso is_pid(Owner);
is(request_id, _) -> false;
is(collection, Term) -> is_map(Term);
is(boolean, Term) -> is_boolean(Term);
is(any, _) -> true.

%% Also what is nearly right.
any_term() ->
    frequency([{3, any()},
               {3, oneof([infinity, undefined, true, erlang, node(), [], {}, "", -1, ?MAX + 1, 1.0,
                          [node() | node()], [node(), 1], {abs, 1.0}, {abs, soon}, {"node", key},
                          {node()}, {node(), key, more}, {"erlang", version}, <<"erlang">>,
                          #{}, #{a => b}, fun(X) -> X end, fun erlang:node/1])},
               {1, oneof([?LAZY(self()), ?LAZY(make_ref()), ?LAZY([make_ref() | make_ref()]),
                          ?LAZY({self(), key}), ?LAZY({make_ref(), self()}),
                          ?LAZY([make_ref() | {a, b}]), ?LAZY([self()])])}]).
