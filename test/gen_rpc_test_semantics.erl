%% SPDX-License-Identifier: Apache-2.0
%% The table of cases by which gen_rpc is compared with `rpc', and gen_rpc_erpc with `erpc'. A case
%% is a function of the module that it is to use; what it returns or raises is compared. Where the
%% two are meant to differ, the case has a name, what either side does, and why.
-module(gen_rpc_test_semantics).

-export([sections/0, size/2, mismatches/3, mismatches_at_once/3, differences/1]).
-export([end_by_node/1, sleep_on/2, count_here/1, hang/0]).

-define(TARGET, gen_rpc_test_target).

%% Longer than anything takes here, ms; but not for ever.
-define(LONG, 20000).

-define(MAX, 16#FFFFFFFF).

-type env() :: #{node := node(),       % another node that is up
                 down := node(),       % nobody listens there
                 unknown := node()}.   % its host does not resolve
-type outcome() :: {returned, term()} | {throw | exit | error, term()} | {died, term()} | waits.
-type expected() :: outcome() | fun((outcome()) -> boolean()).
-type case_() :: #{name := term(), call := fun((module()) -> term()),
                   difference => atom(), theirs => expected(), ours => expected(), why => string()}.
-export_type([env/0]).

%% With the modules that it compares: the original, and ours.
-spec sections() -> [{Section :: atom(), {module(), module()}}].
sections() ->
    [{Section, {rpc, gen_rpc}}
     || Section <- [rpc_endings, rpc_limits, rpc_absent, rpc_later, rpc_many, rpc_messages,
                    rpc_surroundings, rpc_wrong, rpc_lost, rpc_stopped, rpc_full,
                    rpc_alone]] ++
        [{Section, {erpc, gen_rpc_erpc}}
         || Section <- [erpc_endings, erpc_limits, erpc_absent, erpc_requests, erpc_collections,
                        erpc_many, erpc_casts, erpc_surroundings, erpc_wrong, erpc_lost,
                        erpc_stopped, erpc_full, erpc_alone]].

%% All that are meant to differ.
-spec differences(env()) -> [case_()].
differences(Env) ->
    [Case || {Section, _} <- sections(), #{difference := _} = Case <- cases(Section, Env)].

%% The cases in which they are not as they are meant to be, [] if all is well.
-spec mismatches(atom(), {module(), module()}, env()) -> [{Name :: term(), term(), term()}].
mismatches(Section, {Original, Ours}, Env) ->
    lists:append([mismatch(Case, run(Original, Case), run(Ours, Case))
                  || Case <- cases(Section, Env)]).

%% The same, with all calls under way at the same time.
-spec mismatches_at_once(atom(), {module(), module()}, env()) -> [{Name :: term(), term(), term()}].
mismatches_at_once(Section, {Original, Ours}, Env) ->
    Started = [{Case, [gen_rpc_test_task:start(fun() -> run(M, Case) end) || M <- [Original, Ours]]}
               || Case <- cases(Section, Env)],
    lists:append([mismatch(Case, gen_rpc_test_task:result(A), gen_rpc_test_task:result(B))
                  || {Case, [A, B]} <- Started]).

-spec size(atom(), env()) -> non_neg_integer().
size(Section, Env) ->
    length(cases(Section, Env)).

mismatch(#{name := Name, theirs := Theirs, ours := Ours}, {A, _}, {B, Mailbox}) ->
    [{Name, theirs, A} || not is(Theirs, A)]
        ++ [{Name, ours, B, Mailbox} || not is(Ours, B) orelse Mailbox =/= []];
mismatch(#{name := Name}, {A, _}, {B, Mailbox}) ->
    [{Name, A, B, Mailbox} || A =/= B orelse Mailbox =/= []].

is(Expected, Outcome) when is_function(Expected) -> Expected(Outcome);
is(Expected, Outcome) -> Expected =:= Outcome.

%% What a call does in a process of its own, and what it leaves in the mailbox.
-spec run(module(), case_()) -> {outcome(), Mailbox :: [term()]}.
run(Module, #{call := Call}) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
                                           Outcome = outcome(fun() -> Call(Module) end),
                                           exit({?MODULE, Outcome, mailbox()})
                                   end),
    receive
        {'DOWN', Monitor, process, Pid, {?MODULE, Outcome, Mailbox}} -> {Outcome, Mailbox};
        {'DOWN', Monitor, process, Pid, Reason} -> {{died, Reason}, []}
    after 2 * ?LONG ->
        exit(Pid, kill),
        {waits, []}
    end.

outcome(Fun) ->
    try Fun() of
        Value -> {returned, Value}
    catch
        Class:Reason -> {Class, Reason}
    end.

mailbox() ->
    {messages, Messages} = process_info(self(), messages),
    Messages.

same(Name, Call) ->
    #{name => Name, call => Call}.

differs(Name, Difference, Call, Theirs, Ours, Why) ->
    #{name => Name, call => Call, difference => Difference, theirs => Theirs, ours => Ours,
      why => Why}.

returned(Value) -> {returned, Value}.

-spec cases(atom(), env()) -> [case_()].

%%% rpc: calls

%% Every way for a function to end, on another node and on the own one.
cases(rpc_endings, #{node := Node}) ->
    [same({How, Dest, Name}, fun(M) -> call_as(How, M, Dest, MFA) end)
     || {Name, MFA} <- ?TARGET:endings(), Dest <- [Node, node()],
        How <- [call, yield, nb_yield, multicall]];

cases(rpc_limits, #{node := Node}) ->
    lists:append(
      [[same({zero, Dest}, fun(M) -> M:call(Dest, timer, sleep, [200], 0) end),
        same({short, Dest}, fun(M) -> M:call(Dest, timer, sleep, [200], 20) end),
        same({infinite, Dest}, fun(M) -> M:call(Dest, erlang, node, [], infinity) end),
        same({long, Dest}, fun(M) -> M:call(Dest, erlang, node, [], ?MAX - 1) end),
        same({longest, Dest}, fun(M) -> M:call(Dest, erlang, node, [], ?MAX) end),
        same({multicall_longest, Dest},
             fun(M) -> M:multicall([Dest], erlang, node, [], ?MAX) end),
        same({none_given, Dest}, fun(M) -> M:call(Dest, erlang, node, []) end),
        same({late_result, Dest}, fun(M) -> late_call(M, Dest) end),
        same({late_yield, Dest}, fun(M) -> late_yield(M, Dest) end),
        same({late_multicall, Dest}, fun(M) -> late_multicall(M, Dest) end)]
       || Dest <- [Node, node()]]);

cases(rpc_absent, #{node := Node, down := Down, unknown := Unknown}) ->
    Absent = [Down, Unknown, nohost, '', nonode@nohost, 'a@', '@127.0.0.1', 'a@b@127.0.0.1'],
    lists:append(
      [[same({call, Dest}, fun(M) -> M:call(Dest, erlang, node, []) end),
        same({call_in_time, Dest}, fun(M) -> M:call(Dest, erlang, node, [], ?LONG) end),
        same({cast, Dest}, fun(M) -> M:cast(Dest, erlang, node, []) end),
        same({yield, Dest}, fun(M) -> M:yield(M:async_call(Dest, erlang, node, [])) end),
        same({nb_yield, Dest},
             fun(M) -> M:nb_yield(M:async_call(Dest, erlang, node, []), ?LONG) end),
        same({multicall, Dest}, fun(M) -> M:multicall([Dest], erlang, node, []) end),
        same({multicall_among_others, Dest},
             fun(M) -> M:multicall([Node, Dest, node(), Dest, Node], erlang, node, [], ?LONG) end),
        same({eval_everywhere, Dest},
             fun(M) -> M:eval_everywhere([Dest], erlang, node, []) end),
        same({abcast, Dest}, fun(M) -> M:abcast([Dest], init, nothing) end),
        same({sbcast, Dest}, fun(M) -> M:sbcast([Dest], init, nothing) end)]
       || Dest <- Absent]);

%%% rpc: results that are taken later

cases(rpc_later, #{node := Node}) ->
    lists:append(
      [[same({nb_yield_too_early, Dest},
             fun(M) ->
                     Key = M:async_call(Dest, ?TARGET, echo_after, [late, 200]),
                     First = M:nb_yield(Key),
                     Second = M:nb_yield(Key, 1),
                     {First, Second, M:nb_yield(Key, ?LONG)}
             end),
        same({nb_yield_for_ever, Dest},
             fun(M) -> M:nb_yield(M:async_call(Dest, erlang, node, []), infinity) end),
        same({nb_yield_longest, Dest},
             fun(M) -> M:nb_yield(M:async_call(Dest, erlang, node, []), ?MAX) end),
        same({in_any_order, Dest},
             fun(M) ->
                     Keys = [M:async_call(Dest, ?TARGET, echo, [I]) || I <- lists:seq(1, 20)],
                     [M:yield(Key) || Key <- lists:reverse(Keys)]
             end),
        differs({yield_in_another_process, Dest}, yield_in_another_process,
                fun(M) ->
                        Key = M:async_call(Dest, ?TARGET, echo, [value]),
                        elsewhere(fun() -> M:nb_yield(Key, 300) end)
                end,
                returned({returned, timeout}), returned({returned, {value, value}}),
                "a key is not bound to a process, as in gen_rpc"),
        differs({yield_twice, Dest}, yield_twice,
                fun(M) ->
                        Key = M:async_call(Dest, ?TARGET, echo, [value]),
                        value = M:yield(Key),
                        M:nb_yield(Key, 20)
                end,
                returned(timeout), returned({value, {badrpc, timeout}}),
                "says that waiting is in vain; rpc:yield/1 would wait for ever")]
       || Dest <- [Node, node()]]);

%%% rpc: many nodes

cases(rpc_many, #{node := Node, down := Down}) ->
    Own = node(),
    Many = fun(Name, Dests) ->
                   [same({Name, F, A},
                         fun(M) -> M:multicall(Dests, ?TARGET, F, A, ?LONG) end)
                    || {F, A} <- [{echo, [v]}, {echo, [{'EXIT', v}]}, {echo, [{badrpc, v}]},
                                  {divide, [1, 0]}, {end_self, [kill]}, {no_function, []}]]
           end,
    Many(none, []) ++ Many(one, [Node]) ++ Many(twice, [Node, Own, Node, Own])
        ++ Many(with_a_bad_one, [Down, Node, Down, Own]) ++
        [same({mixed, Dests, Name, OfOwn},
              fun(M) ->
                      M:multicall(Dests, ?MODULE, end_by_node,
                                  [#{Node => MFA, Own => OwnMFA}], ?LONG)
              end)
         || {Name, MFA} <- ?TARGET:endings(),
            {OfOwn, OwnMFA} <- [{value, {?TARGET, echo, [value]}}, {exit, {erlang, exit, [own]}}],
            Dests <- [[Node, Own, Down]]] ++
        [same(multicall_3, fun(M) -> all_known(M, Node), M:multicall(erlang, node, []) end),
         same(multicall_4, fun(M) -> all_known(M, Node), M:multicall(erlang, node, [], ?LONG) end),
         same(multicall_4_nodes, fun(M) -> M:multicall([Node, Own], erlang, node, []) end),
         same(slow_node,
              fun(M) -> M:multicall([Own, Node], ?MODULE, sleep_on, [Node, 300], 100) end),
         same(slow_own_node,
              fun(M) -> M:multicall([Own, Node], ?MODULE, sleep_on, [Own, 300], 100) end),
         same(no_time, fun(M) -> M:multicall([Node, Own], timer, sleep, [100], 0) end),
         same(improper_nodes, fun(M) -> M:multicall([Node | Node], erlang, node, []) end),
         same(wrong_node_in_the_list, fun(M) -> M:multicall([Node, "a"], erlang, node, []) end),
         differs(wrong_node_and_call, checked_before_anything_is_sent,
                 fun(M) ->
                         ok = start_counter(Node),
                         Result = outcome(fun() ->
                                                  M:multicall([Node, "a"], ?TARGET, count, [ran])
                                          end),
                         {Result, counted_of(M, Node)}
                 end,
                 returned({{error, badarg}, [ran]}), returned({{error, badarg}, []}),
                 "wrong arguments do nothing")];

%%% rpc: what has no result

cases(rpc_messages, #{node := Node, down := Down}) ->
    Own = node(),
    [same({cast, Dest},
          fun(M) ->
                  ok = start_counter(Node),
                  true = M:cast(Dest, ?MODULE, count_here, [Node]),
                  counted(Node, 1)
          end) || Dest <- [Node, Own]] ++
        [same(cast_that_fails, fun(M) -> M:cast(Node, erlang, error, [failed]) end),
         same(cast_of_what_is_not_there, fun(M) -> M:cast(Node, no_such_module, f, [1]) end),
         same(cast_with_improper_arguments, fun(M) -> M:cast(Node, erlang, node, [a | b]) end),
         same(eval_everywhere,
              fun(M) ->
                      ok = start_counter(Node),
                      abcast = M:eval_everywhere([Node, Down, Own, Node], ?MODULE, count_here,
                                                 [Node]),
                      lists:sort(counted(Node, 3))
              end),
         same(eval_everywhere_3,
              fun(M) ->
                      all_known(M, Node),
                      ok = start_counter(Node),
                      abcast = M:eval_everywhere(?MODULE, count_here, [Node]),
                      lists:sort(counted(Node, 2))
              end),
         same(eval_nowhere, fun(M) -> M:eval_everywhere([], erlang, node, []) end),
         same(abcast,
              fun(M) ->
                      ok = start_counter(Node),
                      abcast = M:abcast([Down, Node, Own, Node], ?TARGET, {count, message}),
                      counted(Node, 2)
              end),
         same(abcast_2,
              fun(M) ->
                      all_known(M, Node),
                      ok = start_counter(Node),
                      abcast = M:abcast(?TARGET, {count, message}),
                      counted(Node, 1)
              end),
         same(abcast_to_nobody, fun(M) -> M:abcast([Node, Own], no_such_name, message) end),
         same(abcast_nowhere, fun(M) -> M:abcast([], ?TARGET, message) end),
         same(sbcast_to_one,
              fun(M) ->
                      ok = start_counter(Node),
                      Result = M:sbcast([Node], ?TARGET, {count, message}),
                      {Result, counted(Node, 1)}
              end),
         same(sbcast_to_nobody, fun(M) -> M:sbcast([Node], no_such_name, message) end),
         same(sbcast_to_the_own_node,
              fun(M) -> M:sbcast([Own], logger, nothing) end),
         same(sbcast_to_nobody_on_the_own_node,
              fun(M) -> M:sbcast([Own], no_such_name, message) end),
         same(sbcast_nowhere, fun(M) -> M:sbcast([], ?TARGET, message) end),
         same(sbcast_to_all, fun(M) -> all_known(M, Node), M:sbcast(init, nothing) end),
         same(sbcast_to_some, fun(M) -> M:sbcast([Down, Node, Down, Own], init, nothing) end)];

%%% rpc: what is around a call

cases(rpc_surroundings, #{node := Node}) ->
    Own = node(),
    [same(no_messages_at_the_worker, fun(M) -> M:call(Node, ?TARGET, trap, []) end),
     same(worker_is_not_linked,
          fun(M) ->
                  M:call(Node, erlang, apply, [fun() -> process_info(self(), links) end, []])
          end),
     differs(group_leader, group_leader_of_the_other_node,
             fun(M) ->
                     {Leader, _} = M:call(Node, ?TARGET, group_leaders, []),
                     node(Leader)
             end,
             returned(Own), returned(Node),
             "following the caller's would open a distribution channel"),
     same(group_leader_on_the_own_node,
          fun(M) ->
                  {Leader, _} = M:call(Own, ?TARGET, group_leaders, []),
                  Leader =:= group_leader()
          end),
     differs(self_on_the_own_node, own_node_runs_beside_the_caller,
             fun(M) -> M:call(Own, erlang, self, []) =:= self() end,
             returned(true), returned(false),
             "the same as on every other node, and whatever the time limit"),
     differs(killed_on_the_own_node, own_node_runs_beside_the_caller,
             fun(M) -> M:call(Own, ?TARGET, end_self, [kill]) end,
             {died, killed}, returned({badrpc, {'EXIT', killed}}),
             "the same as on every other node, and whatever the time limit"),
     differs(absolute_time, no_absolute_times_in_gen_rpc,
             fun(M) -> M:call(Node, erlang, node, [], in(?LONG)) end,
             returned(Node), {error, badarg},
             "rpc does not say that it takes {abs, Time}; gen_rpc_erpc takes it"),
     differs(exit_with_noconnection, noconnection_is_a_reason_like_others,
             fun(M) -> M:call(Node, ?TARGET, end_self, [noconnection]) end,
             returned({badrpc, nodedown}), returned({badrpc, {'EXIT', noconnection}}),
             "a function that ends for this reason is not a lost node"),
     differs(destination_with_a_key, keys_in_destinations,
             fun(M) -> M:call({Node, key}, erlang, node, []) end,
             {error, badarg}, returned(Node), "several connections to a node"),
     differs(version_of_a_module, versions_of_modules,
             fun(M) -> M:call(Node, {erlang, no_version}, node, []) end,
             {error, badarg}, returned({badrpc, incompatible}),
             "runs a function of a certain version only"),
     differs(time_limit_undefined, undefined_time_limit,
             fun(M) -> M:call(Node, erlang, node, [], undefined) end,
             {error, badarg}, returned(Node), "stands for what the setting says"),
     differs(not_exported_3, more_arities,
             fun(M) -> M:call(Node, erlang, node) end,
             {error, undef}, returned(Node), "as in gen_rpc")];

%%% rpc: wrong arguments

cases(rpc_wrong, #{node := Node}) ->
    Mfa = [{module, erlang}, {function, node}, {args, []}],
    Late = {not_checked_by_rpc, "wrong arguments raise badarg, whatever they are"},
    wrong(call, [{node, Node} | Mfa]) ++ wrong(call, [{node, Node} | Mfa] ++ [{timeout, 1000}])
        ++ wrong(cast, [{node, Node} | Mfa])
        ++ wrong(async_call, [{node, Node} | Mfa])
        ++ wrong(yield, [{key, none}]) ++ wrong(nb_yield, [{key, none}])
        ++ wrong(nb_yield, [{key, none}, {right, 1}])
        ++ [same({nb_yield, time, Time},
                 fun(M) ->
                         Key = M:async_call(Node, erlang, node, []),
                         Outcome = outcome(fun() -> M:nb_yield(Key, Time) end),
                         {Outcome, M:yield(Key)}
                 end) || Time <- wrong_terms(timeout)]
        ++ wrong(multicall, [{nodes, [Node]} | Mfa] ++ [{timeout, 1000}])
        ++ wrong(multicall, [{nodes, [Node]} | Mfa])
        ++ wrong(multicall, Mfa ++ [{timeout, 1000}]) ++ wrong(multicall, Mfa)
        ++ wrong(eval_everywhere, [{right, [Node]} | Mfa]) ++ wrong(eval_everywhere, Mfa)
        ++ wrong(eval_everywhere, [{bad_node_in, [Node]} | right(Mfa)])
        ++ unchecked(eval_everywhere, [{no_list, [Node]} | right(Mfa)], Late)
        ++ [Case || F <- [abcast, sbcast],
                    Case <- unchecked(F, [{nodes, [Node]}, {name, init}, {right, nothing}], Late)
                        ++ unchecked(F, [{name, init}, {right, nothing}], Late)];

%%% erpc: calls

cases(erpc_endings, #{node := Node}) ->
    Endings = ?TARGET:endings(),
    [same({How, Dest, Name}, fun(M) -> erpc_as(How, M, Dest, MFA) end)
     || {Name, MFA} <- Endings, Dest <- [Node, node()],
        How <- [call, receive_response, receive_in_time, wait_response, check_response,
                receive_of_collection, wait_of_collection, check_of_collection, multicall]]
        ++ [same({multicall_for_ever, Name},
                 fun(M) -> M:multicall([Node], ?MODULE, end_by_node, [#{Node => MFA}]) end)
            || {Name, MFA} <- Endings]
        ++ [same({for_ever_on_the_own_node, Name}, fun(M) -> M:call(node(), Mod, F, A) end)
            || {Name, {Mod, F, A}} <- Endings, not is_about_the_process(Name)]
        ++ [same({fun_, Dest, Name}, fun(M) -> M:call(Dest, Fun, ?LONG) end)
            || Dest <- [Node, node()],
               {Name, Fun} <- [{value, fun() -> value end}, {throw, fun() -> throw(ball) end},
                               {exit, fun() -> exit(reason) end},
                               {error, fun() -> error(reason) end},
                               {outer, fun ?TARGET:undefined_inside/0}]]
        ++ [same(fun_of_call_2, fun(M) -> M:call(Node, fun() -> node() end) end)];

cases(erpc_limits, #{node := Node}) ->
    lists:append(
      [[same({zero, Dest}, fun(M) -> M:call(Dest, timer, sleep, [200], 0) end),
        same({short, Dest}, fun(M) -> M:call(Dest, timer, sleep, [200], 20) end),
        same({short_fun, Dest}, fun(M) -> M:call(Dest, fun() -> timer:sleep(200) end, 20) end),
        same({longest, Dest}, fun(M) -> M:call(Dest, erlang, node, [], ?MAX) end),
        same({past, Dest}, fun(M) -> M:call(Dest, timer, sleep, [200], past()) end),
        same({now, Dest}, fun(M) -> M:call(Dest, timer, sleep, [200], in(0)) end),
        same({near, Dest}, fun(M) -> M:call(Dest, timer, sleep, [200], in(20)) end),
        same({future, Dest}, fun(M) -> M:call(Dest, erlang, node, [], in(?LONG)) end),
        same({far, Dest}, fun(M) -> M:call(Dest, erlang, node, [], in(?MAX)) end),
        same({too_far, Dest}, fun(M) -> M:call(Dest, erlang, node, [], in(?MAX + ?LONG)) end),
        same({multicall_past, Dest},
             fun(M) -> M:multicall([Dest], timer, sleep, [200], past()) end),
        same({multicall_near, Dest},
             fun(M) -> M:multicall([Dest], timer, sleep, [200], in(20)) end),
        same({multicall_future, Dest},
             fun(M) -> M:multicall([Dest], erlang, node, [], in(?LONG)) end),
        same({multicall_longest, Dest}, fun(M) -> M:multicall([Dest], erlang, node, [], ?MAX) end),
        same({multicall_too_far, Dest},
             fun(M) -> M:multicall([Dest], erlang, node, [], in(?MAX + ?LONG)) end),
        same({late_result, Dest},
             fun(M) ->
                     {error, {erpc, timeout}} =
                         outcome(fun() -> M:call(Dest, ?TARGET, wait_at_gate, [M], 100) end),
                     ok = through_the_gate(Dest, M),
                     {M:call(Dest, ?TARGET, echo, [next], ?LONG), mailbox()}
             end),
        same({late_response, Dest},
             fun(M) ->
                     Id = M:send_request(Dest, ?TARGET, wait_at_gate, [M]),
                     First = outcome(fun() -> M:receive_response(Id, 100) end),
                     ok = through_the_gate(Dest, M),
                     {First, M:call(Dest, ?TARGET, echo, [next], ?LONG), mailbox()}
             end)]
       || Dest <- [Node, node()]]);

cases(erpc_absent, #{node := Node, down := Down, unknown := Unknown}) ->
    Add = fun(M, Id) -> M:reqids_add(Id, label, M:reqids_new()) end,
    lists:append(
      [[same({call, Dest}, fun(M) -> M:call(Dest, erlang, node, []) end),
        same({call_in_time, Dest}, fun(M) -> M:call(Dest, erlang, node, [], ?LONG) end),
        same({call_2, Dest}, fun(M) -> M:call(Dest, fun() -> ok end) end),
        same({cast, Dest}, fun(M) -> M:cast(Dest, erlang, node, []) end),
        same({cast_2, Dest}, fun(M) -> M:cast(Dest, fun() -> ok end) end),
        same({multicast, Dest}, fun(M) -> M:multicast([Dest], erlang, node, []) end),
        same({receive_response, Dest},
             fun(M) -> M:receive_response(M:send_request(Dest, erlang, node, [])) end),
        same({wait_response, Dest},
             fun(M) -> M:wait_response(M:send_request(Dest, erlang, node, []), ?LONG) end),
        same({of_collection, Dest},
             fun(M) ->
                     Id = M:send_request(Dest, erlang, node, []),
                     plain(M, outcome(fun() -> M:receive_response(Add(M, Id), ?LONG, true) end))
             end),
        same({multicall, Dest}, fun(M) -> M:multicall([Dest], erlang, node, []) end),
        same({multicall_among_others, Dest},
             fun(M) -> M:multicall([Node, Dest, node(), Dest, Node], erlang, node, [], ?LONG) end)]
       || Dest <- [Down, Unknown, nohost, '', nonode@nohost, 'a@', '@127.0.0.1']]);

%%% erpc: requests

cases(erpc_requests, #{node := Node}) ->
    Send = fun(M, Dest) -> M:send_request(Dest, ?TARGET, echo, [value]) end,
    Slow = fun(M, Dest) -> M:send_request(Dest, ?TARGET, echo_after, [value, 200]) end,
    lists:append(
      [[same({twice, Dest},
             fun(M) ->
                     Id = Send(M, Dest),
                     value = M:receive_response(Id),
                     [outcome(fun() -> M:receive_response(Id, 0) end),
                      outcome(fun() -> M:receive_response(Id, 20) end),
                      outcome(fun() -> M:wait_response(Id) end),
                      outcome(fun() -> M:wait_response(Id, 20) end),
                      outcome(fun() -> M:check_response(message, Id) end)]
             end),
        same({after_a_timeout, Dest},
             fun(M) ->
                     Id = Slow(M, Dest),
                     [outcome(fun() -> M:receive_response(Id, 0) end),
                      outcome(fun() -> M:receive_response(Id, 20) end),
                      outcome(fun() -> M:wait_response(Id, 400) end),
                      mailbox()]
             end),
        same({waits_then_receives, Dest},
             fun(M) ->
                     Id = Slow(M, Dest),
                     [M:wait_response(Id), M:wait_response(Id, 10), M:wait_response(Id, past()),
                      M:wait_response(Id, in(10)), M:receive_response(Id, in(?LONG)), mailbox()]
             end),
        same({waits_for_ever, Dest}, fun(M) -> M:wait_response(Slow(M, Dest), infinity) end),
        same({receives_by_fun, Dest},
             fun(M) -> M:receive_response(M:send_request(Dest, fun() -> value end)) end),
        same({time_too_far, Dest},
             fun(M) ->
                     Id = Send(M, Dest),
                     [outcome(fun() -> M:receive_response(Id, in(?MAX + ?LONG)) end),
                      outcome(fun() -> M:wait_response(Id, in(?MAX + ?LONG)) end),
                      outcome(fun() -> M:receive_response(Id, ?MAX) end)]
             end),
        same({check_of_another_message, Dest},
             fun(M) ->
                     Id = Slow(M, Dest),
                     [M:check_response(Message, Id)
                      || Message <- [a, {a}, {make_ref(), a}, {'DOWN', make_ref(), process, a, b},
                                     {spawn_reply, make_ref(), error, a}, {}, [],
                                     {make_ref(), make_ref(), process, self(), a}]]
                         ++ [M:receive_response(Id)]
             end),
        same({of_another_process, Dest},
             fun(M) ->
                     Id = Slow(M, Dest),
                     {[elsewhere(fun() -> M:wait_response(Id) end),
                       elsewhere(fun() -> M:wait_response(Id, 20) end),
                       elsewhere(fun() -> M:check_response(message, Id) end)],
                      M:receive_response(Id, ?LONG)}
             end),
        same({receive_of_another_process, Dest},
             fun(M) ->
                     Id = Slow(M, Dest),
                     {elsewhere(fun() -> M:receive_response(Id, 20) end),
                      M:receive_response(Id, ?LONG)}
             end),
        same({receive_of_another_process_too_late, Dest},
             fun(M) ->
                     Id = Send(M, Dest),
                     timer:sleep(100),
                     {elsewhere(fun() -> M:receive_response(Id, 20) end),
                      M:receive_response(Id, ?LONG)}
             end)]
       || Dest <- [Node, node()]]);

%%% erpc: collections

cases(erpc_collections, #{node := Node}) ->
    Collect = fun(M, Requests) ->
                      lists:foldl(fun({Label, Dest, {Mod, F, A}}, C) ->
                                          M:send_request(Dest, Mod, F, A, Label, C)
                                  end, M:reqids_new(), Requests)
              end,
    Echo = fun(Value) -> {?TARGET, echo, [Value]} end,
    Later = fun(Value, Time) -> {?TARGET, echo_after, [Value, Time]} end,
    lists:append(
      [[same({all_in_order, Dest, Delete},
             fun(M) ->
                     C = Collect(M, [{{l, I}, Dest, Later(I, I * 60)} || I <- [3, 1, 2]]),
                     three(M, fun(Rest) -> M:receive_response(Rest, ?LONG, Delete) end, C)
             end)
        || Delete <- [true, false]]
       ++ [same({wait_in_order, Dest, Delete},
                fun(M) ->
                        C = Collect(M, [{{l, I}, Dest, Later(I, I * 60)} || I <- [3, 1, 2]]),
                        {M:wait_response(C, 0, Delete),
                         three(M, fun(Rest) -> M:wait_response(Rest, ?LONG, Delete) end, C)}
                end)
           || Delete <- [true, false]]
       ++ [same({check_in_order, Dest, Delete},
                fun(M) ->
                        C = Collect(M, [{{l, I}, Dest, Later(I, I * 60)} || I <- [3, 1, 2]]),
                        {M:check_response(message, C, Delete),
                         three(M, fun(Rest) -> M:check_response(message(), Rest, Delete) end, C)}
                end)
           || Delete <- [true, false]]
       ++ [same({timeout, Dest, Delete},
                fun(M) ->
                        C = Collect(M, [{I, Dest, Later(I, 200)} || I <- [1, 2, 3]]),
                        [outcome(fun() -> M:receive_response(C, 20, Delete) end),
                         outcome(fun() -> M:receive_response(C, 20, Delete) end),
                         outcome(fun() -> M:wait_response(C, 400, Delete) end),
                         [outcome(fun() -> M:receive_response(Id, 0) end)
                          || {Id, _} <- M:reqids_to_list(C)],
                         mailbox()]
                end)
           || Delete <- [true, false]]
       ++ [same({timeout_beside_one_that_is_there, Dest},
                fun(M) ->
                        C = Collect(M, [{1, Dest, Echo(1)}, {2, Dest, Later(2, 200)}]),
                        {1, 1, C} = M:receive_response(C, ?LONG, false),
                        [outcome(fun() -> M:receive_response(C, 20, true) end), mailbox()]
                end),
           same({by_fun, Dest},
                fun(M) ->
                        C = M:send_request(Dest, fun() -> value end, label, M:reqids_new()),
                        plain(M, outcome(fun() -> M:receive_response(C, ?LONG, true) end))
                end),
           same({not_kept_after_it_was_received_alone, Dest},
                fun(M) ->
                        Id = M:send_request(Dest, erlang, node, []),
                        C = M:reqids_add(Id, label, M:reqids_new()),
                        Dest = M:receive_response(Id),
                        {M:reqids_size(C), M:wait_response(C, 20, true),
                         outcome(fun() -> M:receive_response(C, 20, true) end)}
                end),
           same({added_twice, Dest},
                fun(M) ->
                        Id = M:send_request(Dest, erlang, node, []),
                        C = M:reqids_add(Id, label, M:reqids_new()),
                        Again = outcome(fun() -> M:reqids_add(Id, other, C) end),
                        {Again, M:receive_response(Id)}
                end),
           same({listed, Dest},
                fun(M) ->
                        Ids = [M:send_request(Dest, ?TARGET, echo, [I]) || I <- [1, 2, 3]],
                        C = lists:foldl(fun({Id, I}, C) -> M:reqids_add(Id, I, C) end,
                                        M:reqids_new(), lists:zip(Ids, [1, 2, 3])),
                        Listed = M:reqids_to_list(C),
                        true = lists:sort(Listed) =:= lists:sort(lists:zip(Ids, [1, 2, 3])),
                        {M:reqids_size(C),
                         lists:sort([{M:receive_response(Id), I} || {Id, I} <- Listed])}
                end),
           same({of_another_process, Dest},
                fun(M) ->
                        C = Collect(M, [{1, Dest, Later(1, 200)}]),
                        {elsewhere(fun() -> M:wait_response(C, 20, true) end),
                         plain(M, outcome(fun() -> M:receive_response(C, ?LONG, true) end))}
                end)]
       || Dest <- [Node, node()]])
        ++ [same({empty, F, Time, Delete},
                 fun(M) -> M:F(M:reqids_new(), Time, Delete) end)
            || F <- [receive_response, wait_response], Delete <- [true, false, wrong],
               Time <- [0, infinity, ?MAX, past(), in(?MAX + ?LONG), -1, wrong]]
        ++ [same({empty, check_response, Delete},
                 fun(M) -> M:check_response(message, M:reqids_new(), Delete) end)
            || Delete <- [true, false, wrong]]
        ++ [same({empty, sizes}, fun(M) ->
                                         C = M:reqids_new(),
                                         {M:reqids_size(C), M:reqids_to_list(C)}
                                 end)]
        ++ [same({forged, F, C},
                 fun(M) -> M:F(C, 20, Delete) end)
            || F <- [receive_response, wait_response], C <- forged(), Delete <- [true, false]]
        ++ [same({forged, F, C}, fun(M) -> M:F(C) end)
            || F <- [reqids_size, reqids_to_list], C <- forged()]
        ++ [same({forged, check, C}, fun(M) -> M:check_response(message, C, true) end)
            || C <- forged()]
        ++ [same({forged, send, C},
                 fun(M) -> map_size(M:send_request(Node, erlang, node, [], label, C)) end)
            || C <- forged()];

%%% erpc: many nodes

cases(erpc_many, #{node := Node, down := Down}) ->
    Own = node(),
    [same({mixed, Name, OfOwn},
          fun(M) ->
                  M:multicall([Node, Own, Down, Node], ?MODULE, end_by_node,
                              [#{Node => MFA, Own => OwnMFA}], ?LONG)
          end)
     || {Name, MFA} <- ?TARGET:endings(),
        {OfOwn, OwnMFA} <- [{value, {?TARGET, echo, [value]}}, {exit, {erlang, exit, [own]}}]]
        ++ [same({fun_, Name}, fun(M) -> M:multicall([Node, Down, Own], Fun, ?LONG) end)
            || {Name, Fun} <- [{value, fun() -> node() end}, {throw, fun() -> throw(node()) end},
                               {exit, fun() -> exit(node()) end}]]
        ++ [same(fun_for_ever, fun(M) -> M:multicall([Node, Down], fun() -> node() end) end),
            same(for_ever, fun(M) -> M:multicall([Own, Node, Own], erlang, node, []) end),
            same(none, fun(M) -> M:multicall([], erlang, node, []) end),
            same(slow_node,
                 fun(M) -> M:multicall([Own, Node], ?MODULE, sleep_on, [Node, 300], 100) end),
            same(slow_own_node,
                 fun(M) -> M:multicall([Own, Node], ?MODULE, sleep_on, [Own, 300], 100) end),
            same(improper_arguments,
                 fun(M) -> M:multicall([Node, Own], erlang, node, [a | b]) end)];

%%% erpc: what has no result

cases(erpc_casts, #{node := Node, down := Down}) ->
    Own = node(),
    Count = fun() -> count_here(Node) end,
    [same({cast, Dest},
          fun(M) ->
                  ok = start_counter(Node),
                  ok = M:cast(Dest, ?MODULE, count_here, [Node]),
                  ok = M:cast(Dest, Count),
                  counted(Node, 2)
          end) || Dest <- [Node, Own]]
        ++ [same(multicast,
                 fun(M) ->
                         ok = start_counter(Node),
                         ok = M:multicast([Down, Node, Own, Node], ?MODULE, count_here, [Node]),
                         ok = M:multicast([Own, Down, Node], Count),
                         lists:sort(counted(Node, 5))
                 end),
            same(multicast_to_none, fun(M) -> M:multicast([], erlang, node, []) end),
            same(cast_that_fails, fun(M) -> M:cast(Node, erlang, error, [failed]) end),
            same(cast_with_improper_arguments, fun(M) -> M:cast(Node, erlang, node, [a | b]) end),
            differs(multicast_to_a_wrong_node, checked_before_anything_is_sent,
                    fun(M) ->
                            ok = start_counter(Node),
                            {error, {erpc, badarg}} =
                                outcome(fun() ->
                                                M:multicast([Node, "a"], ?TARGET, count, [ran])
                                        end),
                            counted_of(M, Node)
                    end,
                    returned([ran]), returned([]), "wrong arguments do nothing")];

cases(erpc_surroundings, #{node := Node}) ->
    Own = node(),
    [differs({group_leader, erpc}, group_leader_of_the_other_node,
             fun(M) ->
                     {Leader, _} = M:call(Node, ?TARGET, group_leaders, []),
                     node(Leader)
             end,
             returned(Own), returned(Node),
             "following the caller's would open a distribution channel"),
     differs({self_on_the_own_node, erpc}, own_node_runs_beside_the_caller,
             fun(M) -> M:call(Own, erlang, self, []) =:= self() end,
             returned(true), returned(false),
             "the same as on every other node, and whatever the time limit"),
     differs({multicall_on_the_own_node, erpc}, own_node_runs_beside_the_caller,
             fun(M) -> M:multicall([Own], erlang, self, []) =:= [{ok, self()}] end,
             returned(true), returned(false),
             "the same as on every other node, and whatever the time limit"),
     differs({exit_with_noconnection, erpc}, noconnection_is_a_reason_like_others,
             fun(M) -> M:call(Node, ?TARGET, end_self, [noconnection], ?LONG) end,
             {error, {erpc, noconnection}}, {exit, {signal, noconnection}},
             "a function that ends for this reason is not a lost node"),
     differs({destination_with_a_key, erpc}, keys_in_destinations,
             fun(M) -> M:call({Node, key}, erlang, node, []) end,
             {error, {erpc, badarg}}, returned(Node), "several connections to a node")];

%%% erpc: wrong arguments

cases(erpc_wrong, #{node := Node}) ->
    Mfa = [{module, erlang}, {function, node}, {args, []}],
    Fun = [{function_object, fun() -> ok end}],
    Late = {funs_are_checked, "a cast of what can't be called is an error where it is made"},
    Collection = [{collection, #{}}, {timeout, 0}, {boolean, true}],
    Id = [{request_id, none}],
    wrong(call, [{node, Node} | Mfa]) ++ wrong(call, [{node, Node} | Mfa] ++ [{timeout, 1000}])
        ++ wrong(call, [{node, Node} | Fun])
        ++ wrong(call, [{node, Node} | Fun ++ [{timeout, 1000}]])
        ++ wrong(cast, [{node, Node} | Mfa]) ++ wrong(cast, [{node, Node} | right(Fun)])
        ++ unchecked(cast, [{right, Node} | Fun], Late)
        ++ wrong(multicast, [{nodes, [Node]} | Mfa])
        ++ wrong(multicast, [{nodes, [Node]} | right(Fun)])
        ++ unchecked(multicast, [{right, [Node]} | Fun], Late)
        ++ wrong(multicall, [{nodes, [Node]} | Mfa])
        ++ wrong(multicall, [{nodes, [Node]} | Mfa] ++ [{timeout, 1000}])
        ++ wrong(multicall, [{nodes, [Node]} | Fun])
        ++ wrong(multicall, [{nodes, [Node]} | Fun] ++ [{timeout, 1000}])
        ++ wrong(send_request, [{node, Node} | Mfa]) ++ wrong(send_request, [{node, Node} | Fun])
        ++ wrong(send_request, [{node, Node} | Fun] ++ [{right, label}, {collection, #{}}])
        ++ wrong(send_request, [{node, Node} | Mfa] ++ [{right, label}, {collection, #{}}])
        ++ wrong(receive_response, Id) ++ wrong(receive_response, Id ++ [{right, 0}])
        ++ wrong(receive_response, Collection)
        ++ wrong(wait_response, Id) ++ wrong(wait_response, Id ++ [{right, 0}])
        ++ wrong(wait_response, Collection)
        ++ wrong(check_response, [{right, message} | Id])
        ++ wrong(check_response, [{right, message}, {collection, #{}}, {boolean, true}])
        ++ wrong(reqids_size, [{collection, #{}}]) ++ wrong(reqids_to_list, [{collection, #{}}])
        ++ wrong(reqids_add, Id ++ [{right, label}, {right, #{}}])
        ++ [same({with_a_request, F, Wrong},
                 fun(M) ->
                         Request = M:send_request(Node, erlang, node, []),
                         Outcome = outcome(fun() -> Call(M, Request, Wrong) end),
                         {Outcome, M:receive_response(Request)}
                 end)
            || {F, Type, Call} <-
                   [{receive_response, timeout, fun(M, R, W) -> M:receive_response(R, W) end},
                    {wait_response, timeout, fun(M, R, W) -> M:wait_response(R, W) end},
                    {reqids_add, collection, fun(M, R, W) -> M:reqids_add(R, label, W) end}],
               Wrong <- wrong_terms(Type)];

%%% Nodes that end, or do nothing, or can do nothing

%% The node is killed when all of them wait.
cases(rpc_lost, #{node := Node}) ->
    Why = "the function may have run, which nodedown does not say",
    Lost = fun({returned, {badtcp, _}}) -> true; (_) -> false end,
    [differs(call, lost_after_sending, fun(M) -> M:call(Node, ?MODULE, hang, []) end,
             returned({badrpc, nodedown}), Lost, Why),
     differs(yield, lost_after_sending,
             fun(M) -> M:yield(M:async_call(Node, ?MODULE, hang, [])) end,
             returned({badrpc, nodedown}), Lost, Why),
     differs(nb_yield, lost_after_sending,
             fun(M) ->
                     {value, Value} = M:nb_yield(M:async_call(Node, ?MODULE, hang, []), ?LONG),
                     Value
             end,
             returned({badrpc, nodedown}), Lost, Why),
     same(multicall, fun(M) -> M:multicall([Node], ?MODULE, hang, []) end),
     same(multicall_beside_another,
          fun(M) ->
                  M:multicall([Node, node()], ?MODULE, end_by_node,
                              [#{Node => {?MODULE, hang, []}, node() => {erlang, node, []}}],
                              ?LONG)
          end)];

cases(erpc_lost, #{node := Node}) ->
    Send = fun(M) -> M:send_request(Node, ?MODULE, hang, []) end,
    Collect = fun(M) -> M:reqids_add(Send(M), label, M:reqids_new()) end,
    [same(call, fun(M) -> M:call(Node, ?MODULE, hang, []) end),
     same(call_in_time, fun(M) -> M:call(Node, ?MODULE, hang, [], ?LONG) end),
     same(receive_response, fun(M) -> M:receive_response(Send(M)) end),
     same(wait_response, fun(M) -> M:wait_response(Send(M), ?LONG) end),
     same(check_response,
          fun(M) ->
                  Id = Send(M),
                  M:check_response(message(), Id)
          end),
     same(of_collection,
          fun(M) ->
                  plain(M, outcome(fun() -> M:receive_response(Collect(M), ?LONG, true) end))
          end),
     same(multicall, fun(M) -> M:multicall([Node, Node], ?MODULE, hang, []) end)];

%% The node is stopped, but nobody has noticed.
cases(rpc_stopped, #{node := Node}) ->
    Own = node(),
    [same(call, fun(M) -> M:call(Node, erlang, node, [], 300) end),
     same(call_without_time, fun(M) -> M:call(Node, erlang, node, [], 0) end),
     same(nb_yield, fun(M) -> M:nb_yield(M:async_call(Node, erlang, node, []), 300) end),
     same(multicall, fun(M) -> M:multicall([Node, Own, Node], erlang, node, [], 300) end),
     same(cast, fun(M) -> M:cast(Node, erlang, node, []) end),
     same(abcast, fun(M) -> M:abcast([Node, Own], no_such_name, message) end),
     same(eval_everywhere, fun(M) -> M:eval_everywhere([Node, Own], erlang, node, []) end)];

cases(erpc_stopped, #{node := Node}) ->
    Own = node(),
    Send = fun(M) -> M:send_request(Node, erlang, node, []) end,
    [same(call, fun(M) -> M:call(Node, erlang, node, [], 300) end),
     same(call_until, fun(M) -> M:call(Node, erlang, node, [], in(300)) end),
     same(receive_response, fun(M) -> M:receive_response(Send(M), 300) end),
     same(wait_response, fun(M) -> M:wait_response(Send(M), 300) end),
     same(of_collection,
          fun(M) -> M:receive_response(M:reqids_add(Send(M), l, M:reqids_new()), 300, true) end),
     same(multicall, fun(M) -> M:multicall([Node, Own, Node], erlang, node, [], 300) end),
     same(cast, fun(M) -> M:cast(Node, erlang, node, []) end),
     same(multicast, fun(M) -> M:multicast([Node, Own], erlang, node, []) end)];

%% The node can't start one more process.
cases(rpc_full, #{node := Node}) ->
    Theirs = {badrpc, {'EXIT', system_limit}},
    Ours = {badrpc, system_limit},
    Full = fun(Name, Call, A, B) ->
                   differs(Name, not_run_is_no_exit,
                           fun(M) -> when_full(Node, fun() -> Call(M) end) end,
                           returned(A), returned(B),
                           "that the function was not run is no way for it to end")
           end,
    [Full(call, fun(M) -> M:call(Node, erlang, node, []) end, Theirs, Ours),
     Full(yield, fun(M) -> M:yield(M:async_call(Node, erlang, node, [])) end, Theirs, Ours),
     Full(multicall, fun(M) -> M:multicall([Node], erlang, node, []) end,
          {[Theirs], []}, {[Ours], []})];

cases(erpc_full, #{node := Node}) ->
    Send = fun(M) -> M:send_request(Node, erlang, node, []) end,
    [same(Name, fun(M) -> when_full(Node, fun() -> Call(M) end) end)
     || {Name, Call} <-
            [{call, fun(M) -> M:call(Node, erlang, node, []) end},
             {receive_response, fun(M) -> M:receive_response(Send(M)) end},
             {wait_response, fun(M) -> M:wait_response(Send(M), ?LONG) end},
             {check_response, fun(M) -> Id = Send(M), M:check_response(message(), Id) end},
             {multicall, fun(M) -> M:multicall([Node], erlang, node, []) end}]];

%% The application is stopped, or started anew, or has other settings.
cases(rpc_alone, #{node := Node, down := Down}) ->
    Why = "what is missing is not the other node",
    [differs({not_started, F}, application_not_started,
             fun(M) -> stopped(fun() -> apply(M, F, Args) end) end,
             fun({returned, _}) -> true; (_) -> false end, {error, {not_started, gen_rpc}}, Why)
     || {F, Args} <- [{call, [Down, erlang, node, []]}, {cast, [Down, erlang, node, []]},
                      {async_call, [Down, erlang, node, []]},
                      {multicall, [[Down], erlang, node, []]},
                      {abcast, [[Down], name, message]}]]
        ++ [differs(known_nodes, nodes_with_a_connection,
                    fun(M) ->
                            true = lists:member(Node, nodes()),
                            restarted(fun() -> M:multicall(erlang, node, []) end)
                    end,
                    returned({[node(), Node], []}), returned({[node()], []}),
                    "those of gen_rpc:nodes/0: the distribution need not know any"),
            differs(default_time_limit, default_time_limits,
                    fun(M) ->
                            with(call_receive_timeout, 100,
                                 fun() -> M:call(Node, ?TARGET, echo_after, [value, 400]) end)
                    end,
                    returned(value), returned({badrpc, timeout}),
                    "settings, as in gen_rpc; rpc waits for ever")];

cases(erpc_alone, #{down := Down}) ->
    [differs({not_started, F}, application_not_started,
             fun(M) -> stopped(fun() -> apply(M, F, Args) end) end,
             fun(Outcome) -> not is_not_started(Outcome) end, fun is_not_started/1,
             "what is missing is not the other node")
     || {F, Args} <- [{call, [Down, erlang, node, []]}, {cast, [Down, erlang, node, []]},
                      {send_request, [Down, erlang, node, []]},
                      {multicall, [[Down], erlang, node, []]},
                      {multicast, [[Down], erlang, node, []]}]].

is_not_started(Outcome) -> Outcome =:= {error, {not_started, gen_rpc}}.

stopped(Fun) ->
    ok = application:stop(gen_rpc),
    Outcome = outcome(Fun),
    {ok, _} = application:ensure_all_started(gen_rpc),
    again(Outcome).

restarted(Fun) ->
    stopped(fun() -> ok end),
    Fun().

again({returned, Value}) -> Value;
again({error, Reason}) -> error(Reason).

with(Setting, Value, Fun) ->
    ok = application:set_env(gen_rpc, Setting, Value),
    ok = gen_rpc:reconfigure(),
    Outcome = outcome(Fun),
    ok = application:unset_env(gen_rpc, Setting),
    ok = gen_rpc:reconfigure(),
    again(Outcome).

%% What runs there may end and leave a place, until that is filled.
when_full(Node, Call) ->
    case Call() of
        Node -> when_full(Node, Call);
        {response, Node} -> when_full(Node, Call);
        {[Node], []} -> when_full(Node, Call);
        [{ok, Node}] -> when_full(Node, Call);
        Result -> Result
    end.

%%% How a function is called

call_as(call, M, Dest, {Mod, F, A}) -> M:call(Dest, Mod, F, A, ?LONG);
call_as(yield, M, Dest, {Mod, F, A}) -> M:yield(M:async_call(Dest, Mod, F, A));
call_as(nb_yield, M, Dest, {Mod, F, A}) -> M:nb_yield(M:async_call(Dest, Mod, F, A), ?LONG);
call_as(multicall, M, Dest, {Mod, F, A}) -> M:multicall([Dest], Mod, F, A, ?LONG).

erpc_as(call, M, Dest, {Mod, F, A}) ->
    M:call(Dest, Mod, F, A, ?LONG);
erpc_as(multicall, M, Dest, {Mod, F, A}) ->
    M:multicall([Dest, Dest], Mod, F, A, ?LONG);
erpc_as(How, M, Dest, {Mod, F, A})
  when How =:= receive_of_collection; How =:= wait_of_collection; How =:= check_of_collection ->
    C = M:send_request(Dest, Mod, F, A, label, M:reqids_new()),
    Take = case How of
               receive_of_collection -> fun() -> M:receive_response(C, ?LONG, true) end;
               wait_of_collection -> fun() -> M:wait_response(C, ?LONG, true) end;
               check_of_collection -> Message = message(),
                                      fun() -> M:check_response(Message, C, true) end
           end,
    plain(M, outcome(Take));
erpc_as(How, M, Dest, {Mod, F, A}) ->
    Id = M:send_request(Dest, Mod, F, A),
    case How of
        receive_response -> M:receive_response(Id);
        receive_in_time -> M:receive_response(Id, in(?LONG));
        wait_response -> M:wait_response(Id, ?LONG);
        check_response -> M:check_response(message(), Id)
    end.

%% What came, with the size in the place of a collection.
plain(M, {Class, {Response, Label, C}}) -> {Class, Response, Label, M:reqids_size(C)};
plain(_M, Outcome) -> Outcome.

%% Three responses one after the other, and what comes then.
three(M, Take, C0) ->
    {Taken, C} = lists:mapfoldl(fun(_, C) ->
                                        {Response, Label, Rest} = Take(C),
                                        {{Response, Label, M:reqids_size(Rest)}, Rest}
                                end, C0, [1, 2, 3]),
    {Taken, M:wait_response(C, 0, true)}.

message() ->
    receive Message -> Message after ?LONG -> none end.

%% In a process of its own.
elsewhere(Fun) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({outcome(Fun), mailbox()}) end),
    receive {'DOWN', Monitor, process, Pid, {Outcome, []}} -> Outcome end.

in(Milliseconds) -> {abs, erlang:monotonic_time(millisecond) + Milliseconds}.

past() -> in(-1000).

%% What these say or do is another thing when the caller itself runs them.
is_about_the_process(Name) ->
    lists:member(Name, [killed_by_itself, ended_by_itself, ended_by_itself_normally, link_exits,
                        link_is_killed, link_exits_normally, no_arguments]).

%%% What runs on the nodes

%% Ends in the way that is meant for the node.
-spec end_by_node(#{node() => {module(), atom(), [term()]}}) -> term().
end_by_node(Ends) ->
    {M, F, A} = maps:get(node(), Ends),
    apply(M, F, A).

-spec sleep_on(node(), non_neg_integer()) -> node().
sleep_on(Node, Milliseconds) when Node =:= node() ->
    timer:sleep(Milliseconds),
    node();
sleep_on(_Node, _Milliseconds) ->
    node().

%% Is counted, and never returns.
-spec hang() -> no_return().
hang() ->
    ok = ?TARGET:count(hangs),
    timer:sleep(infinity),
    hang().

%% Tells the counter of a node where it was run.
-spec count_here(node()) -> ok.
count_here(Node) ->
    {?TARGET, Node} ! {count, node()},
    ok.

%%% Witnesses on the nodes

start_counter(Node) ->
    rpc:call(Node, ?TARGET, start_counter, []).

%% All, when there are so many.
counted(Node, N) ->
    ok = gen_rpc_test_node:wait(fun() -> length(rpc:call(Node, ?TARGET, counted, [])) >= N end),
    rpc:call(Node, ?TARGET, counted, []).

%% What there is to count: nothing of ours, unless it has been sent before the next call.
counted_of(M, Node) when M =:= rpc; M =:= erpc ->
    counted(Node, 1);
counted_of(M, Node) ->
    true = M:call(Node, erlang, is_atom, [a]),
    rpc:call(Node, ?TARGET, counted, []).

through_the_gate(Node, Gate) ->
    ok = gen_rpc_test_node:wait(fun() -> rpc:call(Node, ?TARGET, at_gate, [Gate]) end),
    ok = rpc:call(Node, ?TARGET, open_gate, [Gate]),
    gen_rpc_test_node:wait(fun() -> not rpc:call(Node, ?TARGET, at_gate, [Gate]) end).

late_call(M, Dest) ->
    {badrpc, timeout} = M:call(Dest, ?TARGET, wait_at_gate, [M], 100),
    ok = through_the_gate(Dest, M),
    {M:call(Dest, ?TARGET, echo, [next]), mailbox()}.

late_yield(M, Dest) ->
    Key = M:async_call(Dest, ?TARGET, wait_at_gate, [M]),
    timeout = M:nb_yield(Key, 20),
    ok = through_the_gate(Dest, M),
    {through, M} = M:yield(Key),
    mailbox().

late_multicall(M, Dest) ->
    Result = M:multicall([Dest], ?TARGET, wait_at_gate, [M], 100),
    ok = through_the_gate(Dest, M),
    {Result, M:multicall([Dest], ?TARGET, echo, [next], ?LONG), mailbox()}.

%% The other node is one of nodes/0 of either.
all_known(M, Node) ->
    Node = M:call(Node, erlang, node, []),
    ok.

%%% Wrong arguments

%% The call with each of its arguments replaced by what it can't be.
wrong(Function, Args) ->
    [same({Function, length(Args), I, Type, Wrong}, wrong_call(Function, Args, I, Wrong))
     || {I, {Type, _}} <- numbered(Args), Wrong <- wrong_terms(Type)].

%% Where the original takes it, or raises something else.
unchecked(Function, Args, {Difference, Why}) ->
    [differs({Function, length(Args), I, Type, Wrong}, Difference,
             wrong_call(Function, Args, I, Wrong), fun is_not_refused/1, fun is_refused/1, Why)
     || {I, {Type, _}} <- numbered(Args), Wrong <- wrong_terms(Type)].

wrong_call(Function, Args0, I, Wrong) ->
    {Before, [_ | After]} = lists:split(I - 1, [Arg || {_, Arg} <- Args0]),
    fun(M) -> apply(M, Function, Before ++ [Wrong | After]) end.

is_refused({error, badarg}) -> true;
is_refused({error, {erpc, badarg}}) -> true;
is_refused(_) -> false.

is_not_refused(Outcome) -> not is_refused(Outcome).

right(Args) -> [{right, Arg} || {_, Arg} <- Args].

numbered(List) -> lists:zip(lists:seq(1, length(List)), List).

wrong_terms(right) -> [];
wrong_terms(node) -> ["node", <<"node">>, 1, 1.5, {}, {node}, [node], self(), #{}, make_ref()];
wrong_terms(nodes) -> wrong_terms(no_list) ++ wrong_terms(bad_node_in);
wrong_terms(no_list) -> [a, <<"node">>, 1, {}, #{}, self(), [node() | node()]];
wrong_terms(bad_node_in) -> [[1], ["node"], [{}], [node(), 1], [[node()]], [<<"node">>]];
wrong_terms(module) -> ["erlang", <<"erlang">>, 1, 1.5, {}, {erlang}, #{}, self(), [erlang]];
wrong_terms(function) -> ["node", <<"node">>, 1, 1.5, {}, #{}, self(), fun() -> ok end];
wrong_terms(name) -> ["init", <<"init">>, 1, 1.5, {}, #{}, make_ref()];
wrong_terms(args) -> [a, <<>>, 1, 1.5, {}, {a}, #{}, self()];
wrong_terms(timeout) -> [-1, 1.0, soon, "1000", <<>>, {}, [], #{}, ?MAX + 1, 1 bsl 64,
                         {abs, soon}, {abs, 1.0}, {in, 1}];
wrong_terms(key) -> [a, 1, {}, {a, b}, [], [a], [a | b], #{}, self(), make_ref(),
                     {self(), a}, {a, make_ref()}, [make_ref() | a], [a | make_ref()]];
wrong_terms(request_id) -> [a, 1, {}, {a, b}, [], [a], [a | b], #{}, self(), make_ref(),
                            {make_ref(), make_ref()}, [make_ref() | a], [make_ref()],
                            [a | make_ref()], [make_ref() | {}], [make_ref() | {port, a, 1}]];
wrong_terms(function_object) -> [a, 1, {}, fun(X) -> X end, "fun", {erlang, node}, []];
wrong_terms(collection) -> [a, 1, {}, [], [{a, b}], <<>>, self(), make_ref()];
wrong_terms(boolean) -> [a, 1, [], "true", undefined].

%% Maps that are no collections.
forged() ->
    [#{a => b}, #{make_ref() => a}, #{a => [make_ref() | label]}, #{make_ref() => [a | label]},
     #{make_ref() => []}].
