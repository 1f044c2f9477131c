%% SPDX-License-Identifier: Apache-2.0
%% What the suites run on other nodes: a table of every way in which a function can end, and
%% functions that are gates and witnesses for the tests.
-module(gen_rpc_test_target).

-export([endings/0]).
-export([echo/1, echo_after/2, arguments/1, arguments/2, arguments/3, divide/2, only_zero/1]).
-export([deep_error/1, match/1, which/1, if_true/1, try_it/1, bif_inside/1, undefined_inside/0]).
-export([end_self/1, link_to_one_that_ends/1, outlive_a_link/0, start_linked/0,
         trap/0]).
-export([wait_at_gate/1, wait_at_gate/2, open_gate/1, at_gate/1]).
-export([call_inside/1]).
-export([start_counter/0, count_one/0, count/1, counted/0]).
-export([group_leaders/0, print/1]).

-type mfargs() :: {module(), atom(), [term()]}.

%% Each case with a name. Every one ends the same way, stack included, on every node.
-spec endings() -> [{Name :: atom(), mfargs()}].
endings() ->
    [{value, {?MODULE, echo, [value]}},
     {no_arguments, {?MODULE, trap, []}},
     {after_a_while, {?MODULE, echo_after, [late, 30]}},
     {large_value, {lists, seq, [1, 100000]}},
     {large_binary, {binary, copy, [<<"0123456789">>, 200000]}},
     {value_that_looks_like_badrpc, {?MODULE, echo, [{badrpc, nodedown}]}},
     {value_that_looks_like_badtcp, {?MODULE, echo, [{badtcp, closed}]}},
     {value_that_looks_like_exit, {?MODULE, echo, [{'EXIT', reason}]}},
     {value_that_looks_like_error, {?MODULE, echo, [{'EXIT', {badarg, [{m, f, 1, []}]}}]}},
     {value_with_exit_and_more, {?MODULE, echo, [{'EXIT', a, b}]}},
     {value_of_an_own_fun, {erlang, apply, [fun(X) -> X * 2 end, [21]]}},
     {value_of_an_outer_fun, {erlang, apply, [fun lists:reverse/1, [[1, 2]]]}},
     {value_of_a_fun_with_environment, {erlang, apply, [adder(40), [2]]}},

     {throw, {erlang, throw, [ball]}},
     {throw_in_a_fun, {erlang, apply, [fun() -> throw({ball, 1}) end, []]}},
     {throw_that_looks_like_exit, {erlang, throw, [{'EXIT', reason}]}},
     {throw_that_looks_like_badrpc, {erlang, throw, [{badrpc, timeout}]}},

     {exit, {erlang, exit, [reason]}},
     {exit_normal, {erlang, exit, [normal]}},
     {exit_with_a_term, {erlang, exit, [{some, ["term", 1.5, #{}]}]}},
     {exit_that_looks_like_exit, {erlang, exit, [{'EXIT', reason}]}},
     {exit_that_looks_like_error, {erlang, exit, [{badarg, [{m, f, 1, []}]}]}},

     {error, {erlang, error, [reason]}},
     {error_with_a_term, {erlang, error, [{some, ["term", 1.5, #{}]}]}},
     {error_with_arguments, {erlang, error, [reason, [a, b]]}},
     {error_deep_inside, {?MODULE, deep_error, [3]}},
     {error_deeper_than_the_stack, {?MODULE, deep_error, [30]}},
     {error_in_a_fun, {erlang, apply, [fun() -> error(in_a_fun) end, []]}},
     {error_with_a_made_up_stack, {erlang, raise, [error, reason, [{m, f, 1, []}]]}},
     {exit_raised, {erlang, raise, [exit, reason, []]}},
     {throw_raised, {erlang, raise, [throw, ball, []]}},
     {badmatch, {?MODULE, match, [wrong]}},
     {case_clause, {?MODULE, which, [wrong]}},
     {if_clause, {?MODULE, if_true, [wrong]}},
     {try_clause, {?MODULE, try_it, [wrong]}},
     {function_clause, {?MODULE, only_zero, [1]}},
     {function_clause_of_a_library, {lists, reverse, [not_a_list]}},
     {badarith, {?MODULE, divide, [1, 0]}},
     {badarith_in_a_bif, {erlang, '+', [a, 1]}},
     {badarg_in_a_bif, {erlang, atom_to_list, ["no atom"]}},
     {badarg_in_a_bif_inside, {?MODULE, bif_inside, ["no atom"]}},
     {badfun, {erlang, apply, [no_fun, []]}},
     {badarity, {erlang, apply, [fun() -> ok end, [1]]}},
     {undefined_function, {?MODULE, no_such_function, [1, 2]}},
     {undefined_function_inside, {?MODULE, undefined_inside, []}},
     {undefined_module, {no_such_module, f, [1]}},
     {undefined_arity, {?MODULE, echo, [1, 2, 3]}},
     {improper_arguments, {?MODULE, echo, [a | b]}},
     {improper_arguments_of_a_bif, {erlang, atom_to_list, [a | b]}},
     {as_many_arguments_as_there_can_be, {?MODULE, echo, lists:seq(1, 255)}},
     {too_many_arguments, {?MODULE, echo, lists:seq(1, 256)}},

     {killed_by_itself, {?MODULE, end_self, [kill]}},
     {ended_by_itself, {?MODULE, end_self, [reason]}},
     {ended_by_itself_normally, {?MODULE, end_self, [normal]}},
     {link_exits, {?MODULE, link_to_one_that_ends, [reason]}},
     {link_is_killed, {?MODULE, link_to_one_that_ends, [kill]}},
     {link_exits_normally, {?MODULE, outlive_a_link, []}}].

adder(N) ->
    fun(M) -> N + M end.

%%% Functions that end in these ways

-spec echo(term()) -> term().
echo(Term) -> Term.

-spec echo_after(term(), non_neg_integer()) -> term().
echo_after(Term, Milliseconds) ->
    timer:sleep(Milliseconds),
    Term.

%% All its arguments.
-spec arguments(term()) -> {term()}.
arguments(A) -> {A}.

-spec arguments(term(), term()) -> {term(), term()}.
arguments(A, B) -> {A, B}.

-spec arguments(term(), term(), term()) -> {term(), term(), term()}.
arguments(A, B, C) -> {A, B, C}.

-spec divide(number(), number()) -> number().
divide(A, B) -> A div B + 1.

-spec only_zero(0) -> 1.
only_zero(0) -> 1.

-spec deep_error(non_neg_integer()) -> no_return().
deep_error(0) -> error(deep);
deep_error(N) -> 1 + deep_error(N - 1).

-spec match(term()) -> ok.
match(Term) ->
    {ok, _} = Term,
    ok.

-spec which(term()) -> ok.
which(Term) ->
    case Term of
        {ok, _} -> ok
    end.

-spec if_true(term()) -> ok.
if_true(Term) ->
    if
        Term =:= true -> ok
    end.

-spec try_it(term()) -> ok.
try_it(Term) ->
    try echo(Term) of
        {ok, _} -> ok
    catch
        throw:none -> ok
    end.

-spec bif_inside(term()) -> string().
bif_inside(Term) ->
    [$x | atom_to_list(Term)].

-spec undefined_inside() -> no_return().
undefined_inside() ->
    [ok | no_such_module:f(1)].

-spec end_self(term()) -> no_return().
end_self(Reason) ->
    exit(self(), Reason),
    hang().

-spec link_to_one_that_ends(term()) -> no_return().
link_to_one_that_ends(Reason) ->
    _ = spawn_link(fun() -> exit(self(), Reason), hang() end),
    hang().

-spec outlive_a_link() -> lived.
outlive_a_link() ->
    {Pid, Monitor} = spawn_opt(fun() -> ok end, [link, monitor]),
    receive {'DOWN', Monitor, process, Pid, normal} -> lived end.

-spec start_linked() -> pid().
start_linked() ->
    spawn_link(fun hang/0).

%% Nothing else is in the mailbox of a worker.
-spec trap() -> [term()].
trap() ->
    _ = process_flag(trap_exit, true),
    {messages, Messages} = process_info(self(), messages),
    Messages.

-spec hang() -> no_return().
hang() ->
    receive after infinity -> hang() end.

%%% Gates: the function waits until it is let through

-spec wait_at_gate(atom()) -> {through, atom()}.
wait_at_gate(Gate) ->
    true = register(Gate, self()),
    receive open -> {through, Gate} end.

-spec wait_at_gate(atom(), term()) -> {through, atom()}.
wait_at_gate(Gate, _Luggage) ->
    wait_at_gate(Gate).

-spec open_gate(atom()) -> ok.
open_gate(Gate) ->
    Gate ! open,
    ok.

-spec at_gate(atom()) -> boolean().
at_gate(Gate) ->
    whereis(Gate) =/= undefined.

%%% Functions inside of arguments

%% Calls the function, without arguments, that is somewhere inside.
-spec call_inside(term()) -> term().
call_inside(Term) ->
    [Fun] = gen_rpc_terms:fold_funs(fun(Fun, Acc) -> [Fun | Acc] end, [], Term),
    Fun().

%%% Counter: remembers what was counted, in order

%% Starts with nothing counted, also when there is a counter already.
-spec start_counter() -> ok.
start_counter() ->
    case whereis(?MODULE) of
        undefined ->
            Self = self(),
            Pid = spawn(fun() ->
                                register(?MODULE, self()),
                                Self ! {self(), ready},
                                counter([])
                        end),
            receive {Pid, ready} -> ok end;
        Pid ->
            Pid ! forget,
            ok
    end.

-spec count_one() -> ok.
count_one() ->
    count(1).

-spec count(term()) -> ok.
count(Term) ->
    ?MODULE ! {count, Term},
    ok.

%% All that was counted so far.
-spec counted() -> [term()].
counted() ->
    Ref = make_ref(),
    ?MODULE ! {counted, self(), Ref},
    receive {Ref, Terms} -> Terms end.

counter(Terms) ->
    receive
        {count, Term} -> counter([Term | Terms]);
        forget -> counter([]);
        {counted, From, Ref} -> From ! {Ref, lists:reverse(Terms)}, counter(Terms)
    end.

%%% Output

%% Own group leader, and the node's own.
-spec group_leaders() -> {pid(), pid()}.
group_leaders() ->
    {group_leader(), whereis(user)}.

-spec print(string()) -> ok.
print(Text) ->
    io:format("~ts~n", [Text]).
